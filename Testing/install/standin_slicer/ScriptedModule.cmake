# slicerMacroBuildScriptedModule as Slicer has it: the listed files are copied to the build tree's module folder under
# their own relative paths, the scripts are byte-compiled there, and that whole folder is installed.

macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(STANDIN "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(STANDIN_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: unknown arguments: ${STANDIN_UNPARSED_ARGUMENTS}")
  endif()
  foreach(name IN ITEMS NAME SCRIPTS)
    if(NOT DEFINED STANDIN_${name})
      message(FATAL_ERROR "slicerMacroBuildScriptedModule: ${name} is missing")
    endif()
  endforeach()
  if(STANDIN_WITH_SUBDIR)
    message(FATAL_ERROR "the stand-in does not know WITH_SUBDIR")
  endif()
  if(NOT Slicer_USE_PYTHONQT)
    message(FATAL_ERROR "${STANDIN_NAME} needs a Slicer with Python")
  endif()

  set(STANDIN_FOLDER "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}")
  set(STANDIN_COPIES)
  set(STANDIN_COMPILED)
  foreach(kind IN ITEMS SCRIPTS RESOURCES)
    foreach(file IN LISTS STANDIN_${kind})
      # A script may be listed without its extension.
      if(kind STREQUAL "SCRIPTS" AND NOT file MATCHES "\\.py")
        set(file "${file}.py")
      endif()
      if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
        message(FATAL_ERROR "slicerMacroBuildScriptedModule: ${kind} of ${STANDIN_NAME} lists '${file}', "
          "which is not in ${CMAKE_CURRENT_SOURCE_DIR}")
      endif()
      add_custom_command(
        OUTPUT "${STANDIN_FOLDER}/${file}"
        DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${file}"
        COMMAND ${CMAKE_COMMAND} -E copy "${CMAKE_CURRENT_SOURCE_DIR}/${file}" "${STANDIN_FOLDER}/${file}"
        VERBATIM
        )
      list(APPEND STANDIN_COPIES "${STANDIN_FOLDER}/${file}")
      if(kind STREQUAL "SCRIPTS")
        list(APPEND STANDIN_COMPILED "${STANDIN_FOLDER}/${file}")
      endif()
    endforeach()
  endforeach()
  add_custom_target(Copy${STANDIN_NAME}Files ALL DEPENDS ${STANDIN_COPIES})
  add_custom_target(Compile${STANDIN_NAME}Scripts ALL
    COMMAND "${Python3_EXECUTABLE}" -m py_compile ${STANDIN_COMPILED}
    VERBATIM
    )
  add_dependencies(Compile${STANDIN_NAME}Scripts Copy${STANDIN_NAME}Files)

  install(
    DIRECTORY "${STANDIN_FOLDER}/"
    DESTINATION "${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}"
    COMPONENT RuntimeLibraries
    USE_SOURCE_PERMISSIONS
    )
endmacro()
