#include "tasks/result.h"

#include <fmt/format.h>

#include <array>

namespace vpc::tasks {
namespace {

struct Row {
    HResult value;
    std::string_view name;
    std::string_view english;
    std::string_view german;
};

constexpr Row kRows[] = {
#define VPC_HRESULT(name, value, english, german) {HResult::name, #name, english, german},
#include "tasks/result_table.inc"
#undef VPC_HRESULT
};

const Row* find(HResult result) {
    for (const Row& row : kRows) {
        if (row.value == result) {
            return &row;
        }
    }
    return nullptr;
}

}  // namespace

std::string hresult_number(HResult result) {
    return fmt::format("0x{:08X}", static_cast<std::uint32_t>(result));
}

std::string hresult_name(HResult result) {
    const Row* row = find(result);
    return row != nullptr ? std::string(row->name) : hresult_number(result);
}

std::string_view hresult_text(HResult result, Language language) {
    const Row* row = find(result);
    if (row == nullptr) {
        row = find(HResult::E_UNEXPECTED);
    }
    return language == Language::German ? row->german : row->english;
}

std::string outcome_text(const Outcome& outcome, Language language) {
    return fmt::format("{}{}{}", hresult_text(outcome.error, language), outcome.detail.empty() ? "" : ": ",
                       outcome.detail);
}

std::string_view task_result_name(VMTaskResult result) {
    constexpr std::array<std::string_view, 10> kNames{
        "vmTaskResult_Success",          "vmTaskResult_Cancelled",         "vmTaskResult_UnexpectedError",
        "vmTaskResult_OutOfMemoryError", "vmTaskResult_DiskRelatedError",  "vmTaskResult_IncompatibleSavedStateError",
        "vmTaskResult_TimeOutError",     "vmTaskResult_IllegalValueError", "vmTaskResult_ThreadCrashError",
        "vmTaskResult_ShutdownAbort",
    };
    const auto index = static_cast<std::size_t>(result);
    return index < kNames.size() ? kNames[index] : "vmTaskResult_UnexpectedError";
}

}  // namespace vpc::tasks
