#include "core/state_stream.h"

#include <gtest/gtest.h>

namespace vpc::test {
namespace {

enum class Phase : std::uint8_t { Idle = 1, Busy = 2 };

struct Chip {
    std::uint8_t byte = 0x12;
    std::uint32_t word = 0x12345678;
    std::int64_t time = -5;
    bool flag = true;
    Phase phase = Phase::Busy;
    std::array<std::uint16_t, 3> list{1, 2, 3};
    std::vector<std::uint8_t> bytes{9, 8, 7};
    std::string text = "text";

    void serialize(StateStream& stream, std::uint16_t version = 1, std::string_view name = "chip") {
        stream.section(name, version, [&] {
            stream.field(byte);
            stream.field(word);
            stream.field(time);
            stream.field(flag);
            stream.field(phase);
            stream.field(list);
            stream.field(bytes);
            stream.field(text);
        });
    }
    bool operator==(const Chip&) const = default;
};

std::vector<std::uint8_t> saved(Chip chip) {
    StateStream stream = StateStream::saver();
    chip.serialize(stream);
    return stream.bytes();
}

std::string refusal(const std::vector<std::uint8_t>& bytes, std::uint16_t version = 1, std::string_view name = "chip") {
    StateStream stream = StateStream::loader(bytes);
    Chip chip;
    try {
        chip.serialize(stream, version, name);
    } catch (const StateError& error) {
        return error.what();
    }
    return "";
}

TEST(StateStream, LoadsWhatItSaved) {
    Chip other{
        .byte = 0, .word = 0, .time = 0, .flag = false, .phase = Phase::Idle, .list = {}, .bytes = {}, .text = ""};
    const std::vector<std::uint8_t> bytes = saved(Chip{});
    StateStream stream = StateStream::loader(bytes);
    other.serialize(stream);
    EXPECT_EQ(other, Chip{});
    EXPECT_TRUE(stream.loading());
}

TEST(StateStream, IntegersAreLittleEndian) {
    StateStream stream = StateStream::saver();
    std::uint32_t value = 0x11223344;
    stream.field(value);
    EXPECT_EQ(stream.bytes(), (std::vector<std::uint8_t>{0x44, 0x33, 0x22, 0x11}));
}

TEST(StateStream, SectionsNestAndFollowEachOther) {
    const auto fields = [](StateStream& stream, std::array<std::uint16_t, 4>& values) {
        stream.section("outer", 3, [&] {
            stream.field(values[0]);
            stream.section("inner", 1, [&] { stream.field(values[1]); });
            stream.field(values[2]);
        });
        stream.section("next", 1, [&] { stream.field(values[3]); });
    };
    std::array<std::uint16_t, 4> values{10, 20, 30, 40};
    StateStream saver = StateStream::saver();
    fields(saver, values);
    std::array<std::uint16_t, 4> loaded{};
    StateStream loader = StateStream::loader(saver.bytes());
    fields(loader, loaded);
    EXPECT_EQ(loaded, values);
}

TEST(StateStream, RefusesAnotherVersionAndNamesBoth) {
    const std::string text = refusal(saved(Chip{}), 2);
    EXPECT_NE(text.find("chip"), std::string::npos) << text;
    EXPECT_NE(text.find("version 1"), std::string::npos) << text;
    EXPECT_NE(text.find("version 2"), std::string::npos) << text;
}

TEST(StateStream, RefusesAnotherSectionAndNamesBoth) {
    const std::string text = refusal(saved(Chip{}), 1, "8254");
    EXPECT_NE(text.find("chip"), std::string::npos) << text;
    EXPECT_NE(text.find("8254"), std::string::npos) << text;
}

TEST(StateStream, RefusesEveryTruncation) {
    const std::vector<std::uint8_t> whole = saved(Chip{});
    EXPECT_EQ(refusal(whole), "");
    for (std::size_t length = 0; length < whole.size(); ++length) {
        EXPECT_NE(refusal({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)}), "") << length;
    }
}

TEST(StateStream, RefusesASectionWithMoreFieldsThanExpected) {
    StateStream saver = StateStream::saver();
    std::uint32_t value = 1;
    saver.section("chip", 1, [&] {
        saver.field(value);
        saver.field(value);
    });
    StateStream loader = StateStream::loader(saver.bytes());
    EXPECT_THROW(loader.section("chip", 1, [&] { loader.field(value); }), StateError);
}

TEST(StateStream, RefusesASectionWithFewerFieldsThanExpected) {
    StateStream saver = StateStream::saver();
    std::uint32_t value = 1;
    saver.section("chip", 1, [&] { saver.field(value); });
    saver.section("next", 1, [&] { saver.field(value); });
    StateStream loader = StateStream::loader(saver.bytes());
    EXPECT_THROW(loader.section("chip", 1,
                                [&] {
                                    loader.field(value);
                                    loader.field(value);
                                }),
                 StateError);
}

TEST(StateStream, RefusesAFlagThatIsNeitherSetNorClear) {
    const std::vector<std::uint8_t> bytes{2};
    StateStream loader = StateStream::loader(bytes);
    bool flag = false;
    EXPECT_THROW(loader.field(flag), StateError);
}

TEST(StateStream, RefusesAFieldAboveItsLimitBeforeAllocatingIt) {
    const std::vector<std::uint8_t> bytes{0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3};
    std::vector<std::uint8_t> field;
    StateStream loader = StateStream::loader(bytes);
    EXPECT_THROW(loader.field(field, 16), StateError);
    EXPECT_TRUE(field.empty());
}

}  // namespace
}  // namespace vpc::test
