#include "core/state_stream.h"

#include <bit>

namespace vpc {

static_assert(std::endian::native == std::endian::little, "saved states are little-endian; add byte swaps here");

void StateStream::raw(void* data, std::size_t size) {
    if (!loading_) {
        const auto* first = static_cast<const std::uint8_t*>(data);
        out_.insert(out_.end(), first, first + size);
        return;
    }
    const std::size_t end = section_end_ != 0 ? section_end_ : in_.size();
    if (size > end - position_) {
        throw StateError("saved state: section " + current_ + " is cut short");
    }
    std::memcpy(data, in_.data() + position_, size);
    position_ += size;
}

std::size_t StateStream::begin_section(std::string_view name, std::uint16_t version) {
    std::string stored_name(name);
    std::uint16_t stored_version = version;
    std::uint32_t length = 0;
    const std::size_t outer_end = section_end_;
    field(stored_name, 255);
    field(stored_version);
    if (loading_ && stored_name != name) {
        throw StateError("saved state: expected section " + std::string(name) + ", found " + stored_name);
    }
    if (loading_ && stored_version != version) {
        throw StateError("saved state: section " + stored_name + " has version " + std::to_string(stored_version) +
                         ", this program reads version " + std::to_string(version));
    }
    const std::size_t mark = out_.size();
    field(length);
    current_ = name;
    if (!loading_) {
        return mark;
    }
    const std::size_t available = (outer_end != 0 ? outer_end : in_.size()) - position_;
    if (length > available) {
        throw StateError("saved state: section " + stored_name + " is cut short");
    }
    section_end_ = position_ + length;
    return outer_end;
}

void StateStream::end_section(std::string_view name, std::size_t mark) {
    if (loading_) {
        if (position_ != section_end_) {
            throw StateError("saved state: section " + std::string(name) + " is longer than expected");
        }
        section_end_ = mark;
        return;
    }
    const auto length = static_cast<std::uint32_t>(out_.size() - mark - sizeof(std::uint32_t));
    std::memcpy(out_.data() + mark, &length, sizeof length);
}

void StateStream::field(std::vector<std::uint8_t>& bytes, std::size_t limit) {
    auto size = static_cast<std::uint32_t>(bytes.size());
    field(size);
    if (loading_) {
        if (size > limit) {
            refuse("a field is larger than allowed");
        }
        bytes.resize(size);
    }
    if (size != 0) {
        raw(bytes.data(), size);
    }
}

void StateStream::field(std::string& text, std::size_t limit) {
    std::vector<std::uint8_t> bytes(text.begin(), text.end());
    field(bytes, limit);
    if (loading_) {
        text.assign(bytes.begin(), bytes.end());
    }
}

void StateStream::refuse(std::string_view why) const {
    throw StateError("saved state: section " + current_ + ": " + std::string(why));
}

}  // namespace vpc
