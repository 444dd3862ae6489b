// Whole sectors of CDs, checked by the definitions of ECMA-130 (clause 14 and annex A), done the slow way.
#include "devices/cd_frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace vpc::devices::test {
namespace {

using Frame = std::array<std::uint8_t, cd_frame::kSize>;

std::vector<std::uint8_t> random_data(unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::uint8_t> data(cd_frame::kUserData);
    std::generate(data.begin(), data.end(), [&] { return static_cast<std::uint8_t>(random()); });
    return data;
}

/// A product of polynomials over GF(2), bit i for x^i.
std::uint64_t product(std::uint64_t a, std::uint64_t b) {
    std::uint64_t result = 0;
    for (unsigned bit = 0; bit < 32; ++bit) {
        result ^= (b >> bit & 1) != 0 ? a << bit : 0;
    }
    return result;
}

/// What is left of a byte string, as a polynomial whose first coefficient is the first byte's lowest bit, divided by
/// the polynomial of clause 14.3.
std::uint64_t edc_remainder(std::span<const std::uint8_t> bytes) {
    const std::uint64_t divisor = product(0x18005, 0x10007);
    std::uint64_t rest = 0;
    for (const std::uint8_t byte : bytes) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            rest = rest << 1 | (byte >> bit & 1);
            rest ^= (rest >> 32 & 1) != 0 ? divisor : 0;
        }
    }
    return rest;
}

/// In GF(2^8) of x^8 + x^4 + x^3 + x^2 + 1.
std::uint8_t times(unsigned a, unsigned b) {
    std::uint64_t result = product(a, b);
    for (unsigned bit = 15; bit >= 8; --bit) {
        result ^= (result >> bit & 1) != 0 ? std::uint64_t{0x11D} << (bit - 8) : 0;
    }
    return static_cast<std::uint8_t>(result);
}

/// Both rows of the parity check matrix of annex A times this vector: (1 ... 1) and (x^(n-1) ... x 1).
std::pair<unsigned, unsigned> syndromes(const std::vector<std::uint8_t>& vector) {
    unsigned sum = 0;
    unsigned weighted = 0;
    std::uint8_t weight = 1;
    for (auto byte = vector.rbegin(); byte != vector.rend(); ++byte) {
        sum ^= *byte;
        weighted ^= times(weight, *byte);
        weight = times(weight, 2);
    }
    return {sum, weighted};
}

void expect_valid(const Frame& frame) {
    EXPECT_EQ(edc_remainder(std::span(frame).first(2068)), 0u);
    const auto word = [&](unsigned number, unsigned half) { return frame[12 + 2 * number + half]; };
    for (unsigned half = 0; half < 2; ++half) {
        for (unsigned column = 0; column < 43; ++column) {
            std::vector<std::uint8_t> vector;
            for (unsigned row = 0; row < 26; ++row) {
                vector.push_back(word(43 * row + column, half));
            }
            EXPECT_EQ(syndromes(vector), std::pair(0u, 0u)) << "P vector " << column;
        }
        for (unsigned diagonal = 0; diagonal < 26; ++diagonal) {
            std::vector<std::uint8_t> vector;
            for (unsigned i = 0; i < 43; ++i) {
                vector.push_back(word((44 * i + 43 * diagonal) % 1118, half));
            }
            vector.push_back(word(1118 + diagonal, half));
            vector.push_back(word(1144 + diagonal, half));
            EXPECT_EQ(syndromes(vector), std::pair(0u, 0u)) << "Q vector " << diagonal;
        }
    }
}

TEST(CdFrame, HasSyncHeaderAndData) {
    const auto data = random_data(1);
    const Frame frame = cd_frame::build(12345, data);
    EXPECT_EQ(frame[0], 0x00);
    EXPECT_TRUE(std::all_of(&frame[1], &frame[11], [](std::uint8_t byte) { return byte == 0xFF; }));
    EXPECT_EQ(frame[11], 0x00);
    EXPECT_EQ(frame[12], 0x02) << "12345 + 150 frames are 2 minutes, 46 seconds, 45 frames";
    EXPECT_EQ(frame[13], 0x46);
    EXPECT_EQ(frame[14], 0x45);
    EXPECT_EQ(frame[15], 0x01);
    EXPECT_TRUE(std::equal(data.begin(), data.end(), &frame[16]));
    EXPECT_TRUE(std::all_of(&frame[2068], &frame[2076], [](std::uint8_t byte) { return byte == 0; }));
}

TEST(CdFrame, IsWhatItsCodesDemand) {
    expect_valid(cd_frame::build(0, std::vector<std::uint8_t>(cd_frame::kUserData)));
    expect_valid(cd_frame::build(0, std::vector<std::uint8_t>(cd_frame::kUserData, 0xFF)));
    for (unsigned seed = 0; seed < 5; ++seed) {
        expect_valid(cd_frame::build(seed * 80000, random_data(seed)));
    }
}

TEST(CdFrame, TheCheckFindsAWrongByte) {
    Frame frame = cd_frame::build(7, random_data(7));
    frame[100] ^= 1;
    EXPECT_NE(edc_remainder(std::span(frame).first(2068)), 0u);
}

TEST(CdFrame, ChoicesHaveTheSizesOfTheStandard) {
    struct Case {
        unsigned parts;
        std::optional<std::size_t> size;
    };
    for (const auto& [parts, size] : {Case{0x00, 0},
                                      Case{0x10, 2048},
                                      Case{0x18, 2336},
                                      Case{0x20, 4},
                                      Case{0x30, 2052},
                                      Case{0x38, 2340},
                                      Case{0x40, 0},
                                      Case{0x50, 2048},
                                      Case{0x78, 2340},
                                      Case{0x80, 12},
                                      Case{0xA0, 16},
                                      Case{0xB0, 2064},
                                      Case{0xB8, 2352},
                                      Case{0xE0, 16},
                                      Case{0xF0, 2064},
                                      Case{0xF8, 2352},
                                      Case{0x28, std::nullopt},
                                      Case{0x90, std::nullopt},
                                      Case{0x98, std::nullopt},
                                      Case{0x88, std::nullopt},
                                      Case{0xC0, std::nullopt}}) {
        EXPECT_EQ(cd_frame::size_of(static_cast<std::uint8_t>(parts)), size) << std::hex << parts;
    }
}

TEST(CdFrame, PartsAreCutOutOfEachSector) {
    auto data = random_data(3);
    const auto second = random_data(4);
    data.insert(data.end(), second.begin(), second.end());
    const Frame frame = cd_frame::build(10, second);
    const auto parts = cd_frame::cut(9, data, 0x38);
    ASSERT_EQ(parts.size(), 2u * 2340);
    EXPECT_TRUE(std::equal(parts.begin() + 2340, parts.end(), &frame[12]));
}

}  // namespace
}  // namespace vpc::devices::test
