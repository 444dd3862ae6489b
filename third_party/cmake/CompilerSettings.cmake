# Warnings and sanitizers, the same for every target of this project.
add_library(vpc_settings INTERFACE)
target_compile_options(vpc_settings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
                                              -Wnon-virtual-dtor -Woverloaded-virtual
                       -Wno-missing-field-initializers)
if(VPC_WERROR)
  target_compile_options(vpc_settings INTERFACE -Werror)
  # What GCC 13 and 14 guess about std::vector::insert() and its like, once inlined, is often wrong: it warns, and does not
  # stop the build.
  target_compile_options(vpc_settings INTERFACE
                         $<$<CXX_COMPILER_ID:GNU>:-Wno-error=array-bounds;-Wno-error=stringop-overflow;-Wno-error=restrict>)
endif()
if(VPC_SANITIZE)
  target_compile_options(vpc_settings INTERFACE -fsanitize=${VPC_SANITIZE} -fno-omit-frame-pointer
                                                -fno-sanitize-recover=all)
  target_link_options(vpc_settings INTERFACE -fsanitize=${VPC_SANITIZE})
  # GCC takes the sanitizers' instrumentation of the standard library for reads of uninitialised memory.
  target_compile_options(vpc_settings INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
endif()
target_include_directories(vpc_settings INTERFACE "${PROJECT_SOURCE_DIR}")

# vpc_module(NAME LIBRARIES...): a static library vpc_NAME of all sources below the current folder.
function(vpc_module name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cpp" "${CMAKE_CURRENT_SOURCE_DIR}/*.h")
  add_library(vpc_${name} STATIC ${sources})
  target_link_libraries(vpc_${name} PUBLIC ${ARGN} PRIVATE vpc_settings)
  target_include_directories(vpc_${name} PUBLIC "${PROJECT_SOURCE_DIR}")
endfunction()
