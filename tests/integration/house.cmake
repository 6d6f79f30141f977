# Tests of the house itself: the checks must be able to find what they look for, and what the tree exports is what it says.
add_test(NAME house/check-layers COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/check_layers_test.sh)
add_test(NAME house/check-house COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/check_house_test.sh)
set_tests_properties(house/check-layers house/check-house PROPERTIES LABELS house TIMEOUT 60)

# The sanitizers bring symbols of their own.
if(NOT KVASIR_SANITIZE)
  foreach(library kvasir kvasir-connector)
    if(TARGET ${library})
      add_test(NAME house/symbols-${library}
               COMMAND ${CMAKE_SOURCE_DIR}/tools/check-symbols.sh $<TARGET_FILE:${library}>
                       $<TARGET_PROPERTY:${library},KVI_MAP> $<TARGET_PROPERTY:${library},KVI_PUBLIC_HEADERS>
               COMMAND_EXPAND_LISTS)
      set_tests_properties(house/symbols-${library} PROPERTIES LABELS house TIMEOUT 60)
    endif()
  endforeach()
endif()
