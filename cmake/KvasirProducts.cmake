# What leaves the tree: the two shared libraries, their headers and pkg-config files, programs, man pages, completion,
# the systemd unit and the sample configuration. Each install rule names the Debian package it belongs to
# (cmake/KvasirPackages.cmake): libkvasir, libkvasir-connector, dev, server, tools.

# kvi_shared_library(NAME VERSION X.Y.Z MAP FILE ARCHIVES T... PUBLIC_HEADERS FILE... COMPONENT C DESCRIPTION TEXT
#                    [PC_REQUIRES MODULE...])
# The layers named in ARCHIVES become one shared library lib<NAME>.so with a versioned soname. Only what the symbol map
# lets through is exported; all else of ours stays inside, so that two of our libraries in one process do not meet.
function(kvi_shared_library name)
  cmake_parse_arguments(ARG "" "VERSION;MAP;COMPONENT;DESCRIPTION" "ARCHIVES;PUBLIC_HEADERS;PC_REQUIRES" ${ARGN})
  string(REGEX REPLACE "\\..*" "" major ${ARG_VERSION})
  # A shared library wants one source of its own; this one also answers "which version is this file?" to strings(1).
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/products/${name}-version.c
       CONTENT "extern const char kvi_product_version[];\nconst char kvi_product_version[] = \"${name} ${ARG_VERSION}\";\n")
  # The archives' objects are named, since no object of ours refers to the public functions and the linker would take none;
  # the archives themselves follow for what they in turn link with.
  add_library(${name} SHARED ${CMAKE_BINARY_DIR}/products/${name}-version.c)
  foreach(archive ${ARG_ARCHIVES})
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:${archive}>)
  endforeach()
  target_link_libraries(${name} PRIVATE ${ARG_ARCHIVES})
  set_target_properties(${name} PROPERTIES VERSION ${ARG_VERSION} SOVERSION ${major} LINK_DEPENDS ${ARG_MAP}
                        KVI_MAP ${ARG_MAP} KVI_PUBLIC_HEADERS "${ARG_PUBLIC_HEADERS}")
  target_link_options(${name} PRIVATE -Wl,--version-script=${ARG_MAP} -Wl,--as-needed)
  if(NOT KVASIR_SANITIZE)
    target_link_options(${name} PRIVATE -Wl,--no-undefined)
  endif()

  set(include_dirs "")
  foreach(header ${ARG_PUBLIC_HEADERS})
    get_filename_component(dir ${header} DIRECTORY)
    get_filename_component(dir ${dir} DIRECTORY)
    list(APPEND include_dirs ${dir})
  endforeach()
  list(REMOVE_DUPLICATES include_dirs)
  target_include_directories(${name} INTERFACE ${include_dirs})

  list(JOIN ARG_PC_REQUIRES " " requires)
  # Relative to the file itself, so that an unpacked package and an install under another prefix work too.
  file(RELATIVE_PATH to_prefix /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
  string(REGEX REPLACE "/$" "" to_prefix ${to_prefix})
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/products/${name}.pc @ONLY CONTENT
"prefix=\${pcfiledir}/${to_prefix}
libdir=\${prefix}/${CMAKE_INSTALL_LIBDIR}
includedir=\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}

Name: ${name}
Description: ${ARG_DESCRIPTION}
Version: ${ARG_VERSION}
Requires: ${requires}
Libs: -L\${libdir} -l${name}
Cflags: -I\${includedir}
")
  install(TARGETS ${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ${ARG_COMPONENT}
          NAMELINK_COMPONENT dev)
  install(FILES ${ARG_PUBLIC_HEADERS} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/kvasir COMPONENT dev)
  install(FILES ${CMAKE_BINARY_DIR}/products/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
endfunction()

# kvi_public_header_check(FILE...): a test for each header: it compiles alone, as C11 and as C++17, with warnings as errors.
function(kvi_public_header_check)
  if(NOT KVASIR_TESTS OR KVASIR_SANITIZE)
    return() # once is enough: no sanitizer sees a header
  endif()
  set(include_flags "")
  foreach(header ${ARGN})
    get_filename_component(dir ${header} DIRECTORY)
    get_filename_component(dir ${dir} DIRECTORY)
    list(APPEND include_flags -I${dir})
  endforeach()
  list(REMOVE_DUPLICATES include_flags)
  if(KVASIR_LLAMA_DIR)
    list(APPEND include_flags -isystem ${KVASIR_LLAMA_DIR}/include)
  endif()
  foreach(header ${ARGN})
    get_filename_component(stem ${header} NAME_WE)
    foreach(standard c11 c++17)
      add_test(NAME header/${stem}-${standard}
               COMMAND ${CMAKE_SOURCE_DIR}/tools/check-header.sh ${standard} ${header} ${include_flags})
      set_tests_properties(header/${stem}-${standard} PROPERTIES LABELS house TIMEOUT 60)
    endforeach()
  endforeach()
endfunction()

# kvi_manual_page(NAME SECTION COMPONENT [PROGRAM]): docs/man/NAME.SECTION, with the program's own list of options in it.
function(kvi_manual_page name section component)
  set(source ${CMAKE_SOURCE_DIR}/docs/man/${name}.${section})
  set(page ${CMAKE_BINARY_DIR}/man/${name}.${section})
  set(program "")
  set(depends ${source} ${CMAKE_SOURCE_DIR}/tools/build-man.sh)
  if(ARGC GREATER 3)
    set(program $<TARGET_FILE:${ARGV3}>)
    list(APPEND depends ${ARGV3})
  endif()
  add_custom_command(OUTPUT ${page} DEPENDS ${depends} VERBATIM COMMENT "man page ${name}(${section})"
                     COMMAND ${CMAKE_SOURCE_DIR}/tools/build-man.sh ${PROJECT_VERSION} ${source} ${page} ${program})
  add_custom_target(man-${name} ALL DEPENDS ${page})
  if(NOT component STREQUAL "unpackaged")
    install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT ${component})
  endif()
endfunction()

# The headers for users that exist, in the order of the layers.
set(kvi_headers "")
foreach(header base/include/kvasir/status.h proto/include/kvasir/space.h proto/include/kvasir/keys.h
               client/include/kvasir/client.h connector/include/kvasir/connector.h connector/llamacpp/include/kvasir/llama.h)
  if(EXISTS ${CMAKE_SOURCE_DIR}/${header})
    list(APPEND kvi_headers ${CMAKE_SOURCE_DIR}/${header})
  endif()
endforeach()
set(kvi_alone ${kvi_headers})
if(NOT KVASIR_LLAMA_DIR) # the adapter's header needs llama.cpp's
  list(FILTER kvi_alone EXCLUDE REGEX llama\\.h$)
endif()
kvi_public_header_check(${kvi_alone})

set(kvi_shared_headers ${kvi_headers})
list(FILTER kvi_shared_headers EXCLUDE REGEX "/(client|connector|llama)\\.h$")

if(TARGET kvi_client AND NOT TARGET kvasir)
  kvi_shared_library(kvasir VERSION ${PROJECT_VERSION} MAP ${CMAKE_SOURCE_DIR}/client/libkvasir.map COMPONENT libkvasir
    ARCHIVES kvi_base kvi_proto kvi_client DESCRIPTION "client of the Kvasir store for KV caches"
    PUBLIC_HEADERS ${kvi_shared_headers} ${CMAKE_SOURCE_DIR}/client/include/kvasir/client.h)
endif()
if(TARGET kvi_connector AND NOT TARGET kvasir-connector)
  kvi_shared_library(kvasir-connector VERSION ${PROJECT_VERSION} MAP ${CMAKE_SOURCE_DIR}/connector/libkvasir-connector.map
    COMPONENT libkvasir-connector ARCHIVES kvi_base kvi_proto kvi_connector
    DESCRIPTION "what an inference engine calls to keep its KV cache in Kvasir"
    PUBLIC_HEADERS ${kvi_shared_headers} ${CMAKE_SOURCE_DIR}/connector/include/kvasir/connector.h)
  kvi_manual_page(libkvasir-connector 3 dev)
endif()

if(TARGET kvasird)
  # In /usr the configuration's place is /etc; everywhere else it stays below the prefix.
  if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
    set(config_dir /etc/kvasir)
  else()
    set(config_dir ${CMAKE_INSTALL_SYSCONFDIR}/kvasir)
  endif()
  install(TARGETS kvasird RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT server)
  install(FILES ${CMAKE_SOURCE_DIR}/deploy/kvasird.yaml DESTINATION ${config_dir} COMPONENT server)
  set(KVASIRD_PATH ${CMAKE_INSTALL_FULL_SBINDIR}/kvasird)
  set(KVASIRD_CONFIG ${CMAKE_INSTALL_FULL_SYSCONFDIR}/kvasir/kvasird.yaml)
  configure_file(${CMAKE_SOURCE_DIR}/deploy/systemd/kvasird.service.in ${CMAKE_BINARY_DIR}/products/kvasird.service @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/products/kvasird.service DESTINATION lib/systemd/system COMPONENT server)
  kvi_manual_page(kvasird 8 server kvasird)
endif()

if(TARGET kvasirctl)
  install(TARGETS kvasirctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)
  install(FILES ${CMAKE_BINARY_DIR}/products/completion/kvasirctl
          DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT tools)
  install(FILES ${CMAKE_BINARY_DIR}/products/completion/_kvasirctl
          DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions COMPONENT tools)
  kvi_manual_page(kvasirctl 1 tools)
endif()
# The example is not packaged: the llama.cpp it was linked with is a download.
if(TARGET kvasir-llama)
  kvi_manual_page(kvasir-llama 1 unpackaged)
endif()
foreach(component libkvasir libkvasir-connector dev server tools)
  install(FILES ${CMAKE_SOURCE_DIR}/LICENSE RENAME copyright COMPONENT ${component}
          DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${kvi_package_${component}})
endforeach()
