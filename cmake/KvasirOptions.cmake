# Language level, warnings and sanitizers, the same for every target.
include(GNUInstallDirs)

option(KVASIR_TESTS "build the tests" ON)
option(KVASIR_FUZZ "build the libFuzzer targets (needs clang)" OFF)
set(KVASIR_SANITIZE "" CACHE STRING "address (with undefined) or thread")
set(KVASIR_LLAMA_DIR "" CACHE PATH "folder with llama.cpp's headers and libraries; empty: no llama.cpp adapter")

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# POSIX, epoll, accept4, SO_PEERCRED and MAP_HUGETLB are GNU's to declare.
add_compile_definitions(_GNU_SOURCE)
add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
                    -Wpointer-arith -Wvla -Werror -fno-strict-aliasing)

if(KVASIR_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(KVASIR_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
  add_library(kvi_tsan_options OBJECT ${CMAKE_CURRENT_LIST_DIR}/tsan_options.c)
  link_libraries(kvi_tsan_options)
elseif(KVASIR_SANITIZE)
  message(FATAL_ERROR "KVASIR_SANITIZE is ${KVASIR_SANITIZE}: say address or thread")
endif()
if(KVASIR_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
