#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "disk/file.h"
#include "disk/image_type.h"
#include "disk/operations/operation.h"

namespace vpc::disk {

/// What can be wrong with an image.
enum class FindingKind {
    FooterMissing,      ///< no footer at the end of the file
    FooterDamaged,      ///< there is one, but its checksum is wrong
    CopyDamaged,        ///< the copy at the start of the file is missing or damaged
    CopyDiffers,        ///< both are intact and say something else; the one at the end counts
    TrailingBytes,      ///< something follows the footer
    HeaderChecksum,     ///< of the dynamic disk header
    HeaderDamaged,      ///< its fields, or the footer's, cannot be right
    DiskTruncated,      ///< a fixed or raw image is shorter than its disk
    BlockOutside,       ///< a table entry points behind the end of the file
    BlockOnStructures,  ///< a block lies on the footer's copy, the header, the table or a parent's path
    BlocksOverlap,      ///< two blocks share sectors of the file
    BlockTruncated,     ///< a block reaches beyond the end of the file
    BitmapIncomplete,   ///< a dynamic image stores data in sectors that its bitmap calls unwritten
    LocatorOutside,     ///< a parent's path lies outside the file
    ParentProblem,      ///< the parent is missing or the wrong one, or the chain is none
    ParentChanged,      ///< the parent's time is not what the child has recorded
    UnusedSpace,        ///< room for blocks that no block uses
    Unusual,            ///< allowed, but worth knowing
};

/// What repair() can do about it.
enum class Remedy {
    None,
    Lossless,  ///< put it right without losing anything
    Lossy,     ///< give up what is lost already: RepairOptions::accept_loss
};

struct Finding {
    FindingKind kind = FindingKind::Unusual;
    bool problem = false;  ///< false: only a note
    Remedy remedy = Remedy::None;
    std::string text;  ///< one line that does not name the file
};

struct CheckReport {
    ImageType type = ImageType::Raw;
    /// Of each kind at most kMaxFindingsOfAKind, and one that says how many more there are.
    std::vector<Finding> findings;

    /// Nothing but notes.
    bool clean() const;
};

inline constexpr std::size_t kMaxFindingsOfAKind = 16;

/// "footer_missing": the kind's name for programs.
const char* name_of(FindingKind kind);

/// Examines an image's structures, as far as they can be made sense of, and the chain of its parents. Of the contents
/// only sectors are read that a dynamic image's bitmaps call unwritten, which have to be zeros. Writes nothing.
///
/// A damaged image is no error but a report. Errors: those of opening a file, InUse among them; NotAnImage for what
/// is too short; Unsupported for images of other formats; Cancelled.
Result<CheckReport> check(const std::filesystem::path& image, const std::vector<std::filesystem::path>& parent_folders,
                          const Operation& operation);

}  // namespace vpc::disk
