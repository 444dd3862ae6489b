#pragma once
#include <dlfcn.h>

/// What files that replace engine functions share; see engine_overrides.h. Such files are listed in
/// core/CMakeLists.txt, for the options they are compiled with.

/// In front of a replacement: the dynamic linker must find it by the engine's name, and nothing in the program calls
/// it.
#define VPC_OVERRIDE extern "C" __attribute__((visibility("default"), used))

namespace vpc::unicorn {

class OverrideClient;

/// The machine that this thread runs; null outside every OverrideScope.
OverrideClient* override_client();

/// The function that was replaced, or that of a library behind the program; null if there is none.
template <typename Pointer>
void resolve(Pointer& pointer, const char* name) {
    pointer = reinterpret_cast<Pointer>(dlsym(RTLD_NEXT, name));
}

/// Whether the dynamic linker gives the engine the functions of translator_overrides.cpp.
bool translator_overrides_are_linked();

}  // namespace vpc::unicorn
