#pragma once
#include <filesystem>
#include <vector>

#include "disk/operations/check.h"
#include "disk/operations/operation.h"

namespace vpc::disk {

struct RepairOptions {
    /// Also give up what is lost already: blocks that the table places outside the file or on its structures leave the
    /// table, so they read as zeros or as the parent; what is cut off of a block or of a fixed disk becomes zeros.
    bool accept_loss = false;
    /// Where parents are looked for, too.
    std::vector<std::filesystem::path> parent_folders = {};
};

struct RepairReport {
    CheckReport before;
    CheckReport after;
    /// What was replaced; empty if nothing was.
    std::filesystem::path side_file = {};
};

/// Puts right what check() finds and calls Lossless, with RepairOptions also what it calls Lossy. Contents are never
/// guessed: blocks that overlap, a header whose fields are wrong, and chains stay as they are. Of a dynamic image, bits
/// are set where data is stored, so that all programs read the same.
///
/// Before anything is changed, the bytes that will be replaced or cut off are on the host's disk in a file beside the
/// image, "IMAGE.replaced" (or ".replaced-2" and so on): the line "vpc-replaced 1", the line "size N" with the image's
/// size in bytes, then for every piece a line "at OFFSET LENGTH", the bytes, and a line feed. Writing them back at
/// their offsets and cutting the file to that size undoes the repair.
///
/// A power failure in the middle leaves an image that can be repaired again; sectors that were given up may hold
/// anything then. Errors: those of check() and of opening
/// the file for writing; NoSpace.
Result<RepairReport> repair(const std::filesystem::path& image, const RepairOptions& options,
                            const Operation& operation);

}  // namespace vpc::disk
