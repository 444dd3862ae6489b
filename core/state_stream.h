#pragma once
#include <array>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace vpc {

/// A saved state that cannot be loaded: cut short, of another version, of another machine. The text says which
/// section and why. Thrown only while loading.
class StateError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// One list of fields for both directions: a chip names its fields once, and the stream writes them when saving and
/// overwrites them when loading. Sections are named, versioned and length-checked, so that an old or foreign state is
/// refused with a message instead of being misread.
///
///     void I8254::serialize(StateStream& stream) {
///         stream.section(name(), 1, [&] {
///             for (auto& counter : counters_) { stream.field(counter.reload); ... }
///         });
///         if (stream.loading()) drive_outputs();
///     }
///
/// Integers are stored little-endian in their own size; enumerations as their underlying type; bool as one byte that
/// must be 0 or 1.
class StateStream {
  public:
    static StateStream saver() { return StateStream(); }
    /// The bytes must outlive the stream.
    static StateStream loader(std::span<const std::uint8_t> bytes) { return StateStream(bytes); }

    bool loading() const { return loading_; }
    /// What was saved so far. Only for a saver.
    const std::vector<std::uint8_t>& bytes() const { return out_; }

    /// Runs `fields` inside a named section. Loading throws StateError when the name, the version or the length
    /// differs from what is stored.
    template <std::invocable Fields>
    void section(std::string_view name, std::uint16_t version, Fields&& fields) {
        const std::size_t mark = begin_section(name, version);
        fields();
        end_section(name, mark);
    }

    template <typename T>
    requires(std::is_integral_v<T> || std::is_enum_v<T>) void field(T& value) {
        if constexpr (std::is_same_v<T, bool>) {
            std::uint8_t byte = value ? 1 : 0;
            field(byte);
            if (byte > 1) {
                throw StateError("saved state: a flag is neither 0 nor 1 in section " + current_);
            }
            value = byte != 0;
        } else if constexpr (std::is_enum_v<T>) {
            auto number = static_cast<std::underlying_type_t<T>>(value);
            field(number);
            value = static_cast<T>(number);
        } else {
            raw(&value, sizeof value);
        }
    }
    /// Arrays of anything that is a field.
    template <typename T, std::size_t N>
    void field(std::array<T, N>& values) {
        for (T& value : values) {
            field(value);
        }
    }
    /// Length and contents. Loading refuses more than `limit` elements.
    void field(std::vector<std::uint8_t>& bytes, std::size_t limit = 1u << 26);
    void field(std::string& text, std::size_t limit = 1u << 16);

    /// To be called by a repair step that finds a loaded value out of range.
    [[noreturn]] void refuse(std::string_view why) const;

  private:
    StateStream() = default;
    explicit StateStream(std::span<const std::uint8_t> bytes) : loading_(true), in_(bytes) {}

    std::size_t begin_section(std::string_view name, std::uint16_t version);
    void end_section(std::string_view name, std::size_t mark);
    void raw(void* data, std::size_t size);

    bool loading_ = false;
    std::vector<std::uint8_t> out_;
    std::span<const std::uint8_t> in_;
    std::size_t position_ = 0;
    std::size_t section_end_ = 0;
    std::string current_ = "(none)";
};

}  // namespace vpc
