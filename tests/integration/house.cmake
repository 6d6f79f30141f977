# Tests of the house itself: the checks must be able to find what they look for, and what the tree exports and documents is
# what it says. They look at sources and at products, so once is enough; the sanitizers bring symbols of their own.
if(KVASIR_SANITIZE)
  return()
endif()

function(kvi_house_test name)
  add_test(NAME house/${name} COMMAND ${ARGN} COMMAND_EXPAND_LISTS)
  set_tests_properties(house/${name} PROPERTIES LABELS house TIMEOUT 60)
endfunction()

kvi_house_test(check-layers ${CMAKE_CURRENT_SOURCE_DIR}/check_layers_test.sh)
kvi_house_test(check-house ${CMAKE_CURRENT_SOURCE_DIR}/check_house_test.sh)
kvi_house_test(install-deps ${CMAKE_CURRENT_SOURCE_DIR}/install_deps_test.sh)

foreach(library kvasir kvasir-connector)
  if(TARGET ${library})
    kvi_house_test(symbols-${library} ${CMAKE_SOURCE_DIR}/tools/check-symbols.sh $<TARGET_FILE:${library}>
                   $<TARGET_PROPERTY:${library},KVI_MAP> $<TARGET_PROPERTY:${library},KVI_PUBLIC_HEADERS>)
  endif()
endforeach()

if(TARGET kvasird)
  kvi_house_test(configuration-reference ${CMAKE_SOURCE_DIR}/tools/check-config-reference.sh $<TARGET_FILE:kvasird>)
endif()
