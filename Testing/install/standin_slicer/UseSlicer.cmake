# What an extension gets from including Slicer's use file: checks of its name and the macros of scripted modules.

if(NOT EXTENSION_NAME STREQUAL PROJECT_NAME)
  message(FATAL_ERROR "EXTENSION_NAME [${EXTENSION_NAME}] is not the project's name [${PROJECT_NAME}]")
endif()

find_package(Python3 REQUIRED COMPONENTS Interpreter)
include("${CMAKE_CURRENT_LIST_DIR}/ScriptedModule.cmake")
