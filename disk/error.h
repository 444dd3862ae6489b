#pragma once
#include <string>
#include <tl/expected.hpp>

namespace vpc::disk {

/// Why an operation on an image failed. Callers decide by `code`; people read `message`.
enum class ErrorCode {
    NotFound,        ///< no such file or folder
    AccessDenied,    ///< the host does not let us
    ReadOnly,        ///< the image was opened read-only, or its medium is
    InUse,           ///< another process or machine holds the file
    NotAnImage,      ///< a directory, an empty file, a device of the wrong kind
    Corrupt,         ///< the contents contradict themselves
    Unsupported,     ///< a feature or size this program does not handle
    ParentMismatch,  ///< the parent's identity is not what the child recorded
    NoSpace,         ///< the host's disk is full
    OutOfRange,      ///< beyond the end of the disk
    AlreadyExists,
    Cancelled,
    WouldWait,  ///< see ReadsAtOnce
    IoError,    ///< the host failed to read or write
};

/// One line for people: what was done, to which file, what went wrong and what to do.
struct Error {
    ErrorCode code = ErrorCode::IoError;
    std::string message;
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = tl::expected<void, Error>;

inline tl::unexpected<Error> fail(ErrorCode code, std::string message) {
    return tl::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace vpc::disk
