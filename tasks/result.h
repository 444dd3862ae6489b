#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace vpc::tasks {

/// The languages that texts for people come in. What the host says about a file (see IVMTask::ErrorDescription) is
/// English in both.
enum class Language {
    English,
    German,
};

/// HRESULTs with the names and values that Virtual PC's programmers know: Windows' own (winerror.h) and the VM_E_ codes
/// of Windows Virtual PC's type library. The documentation prints E_INVALIDARG as 0x80000003; Windows defines the value
/// here.
enum class HResult : std::uint32_t {
#define VPC_HRESULT(name, value, english, german) name = (value),
#include "tasks/result_table.inc"
#undef VPC_HRESULT
};

/// The severity bit is clear: S_OK and S_FALSE.
constexpr bool succeeded(HResult result) {
    return (static_cast<std::uint32_t>(result) & 0x80000000u) == 0;
}

/// "VM_E_VM_RUNNING"; "0x80041234" for a value without a name.
std::string hresult_name(HResult result);
/// "0xA0040500".
std::string hresult_number(HResult result);
/// One sentence without a full stop, for people.
std::string_view hresult_text(HResult result, Language language);

/// How a task ended, with Virtual PC's numbers.
enum class VMTaskResult : std::int32_t {
    Success = 0,
    Cancelled = 1,
    UnexpectedError = 2,
    OutOfMemoryError = 3,
    DiskRelatedError = 4,
    IncompatibleSavedStateError = 5,
    TimeOutError = 6,
    IllegalValueError = 7,
    ThreadCrashError = 8,
    ShutdownAbort = 9,
};

/// "vmTaskResult_Success".
std::string_view task_result_name(VMTaskResult result);

/// What came of a method or of a task's work.
struct Outcome {
    HResult error = HResult::S_OK;
    VMTaskResult result = VMTaskResult::Success;
    /// One line for people beyond the code's own text: which file, what to do. May be empty.
    std::string detail;
};

/// The error's text, and behind a colon the detail, if there is one.
std::string outcome_text(const Outcome& outcome, Language language);

}  // namespace vpc::tasks
