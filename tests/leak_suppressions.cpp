// Unicorn 2.1.1 keeps 32 bytes of every engine that it closes. LeakSanitizer asks for this function by its name.
extern "C" const char* __lsan_default_suppressions();
extern "C" __attribute__((visibility("default"), used)) const char* __lsan_default_suppressions() {
    return "leak:libunicorn\n";
}
