// commit_undo_disk UNDO DISK: what a machine does at the end of a session, as a program that can be killed.
#include <cstdio>

#include "disk/operations/undo_disk.h"

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fputs("usage: commit_undo_disk UNDO DISK\n", stderr);
        return 2;
    }
    const auto status = vpc::disk::commit_undo_disk(argv[1], argv[2], {}, {});
    if (!status) {
        std::fprintf(stderr, "commit_undo_disk: %s\n", status.error().message.c_str());
        return 1;
    }
    return 0;
}
