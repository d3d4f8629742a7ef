# A stand-in for the CMake package of a Slicer build: enough of it to configure, build and install an extension of
# scripted modules, and as strict. Written from what Slicer 5.12 does; nothing of it is Slicer's.

if("${EXTENSION_NAME}" STREQUAL "")
  set(EXTENSION_NAME ${PROJECT_NAME})
endif()

set(Slicer_VERSION_MAJOR 5)
set(Slicer_VERSION_MINOR 13)
set(Slicer_VERSION_PATCH 0)
set(Slicer_REVISION 34567)
set(Slicer_OS ${CMAKE_SYSTEM_NAME})
set(Slicer_ARCHITECTURE amd64)
set(Slicer_USE_PYTHONQT ON)

set(Slicer_LIB_DIR lib/Slicer-5.13)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR ${Slicer_LIB_DIR}/qt-scripted-modules)
set(Slicer_SHARE_DIR share/Slicer-5.13)
set(Slicer_INSTALL_ROOT ./)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR ${Slicer_INSTALL_ROOT}${Slicer_QTSCRIPTEDMODULES_LIB_DIR})
set(Slicer_INSTALL_SHARE_DIR ${Slicer_INSTALL_ROOT}${Slicer_SHARE_DIR})

set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/GenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/ExtensionPackage.cmake")
