#include "devices/cd_frame.h"

#include <algorithm>

namespace vpc::devices::cd_frame {
namespace {

// Where the parts begin.
constexpr std::size_t kHeader = 12;
constexpr std::size_t kData = 16;
constexpr std::size_t kEdc = 2064;
constexpr std::size_t kParityP = 2076;  // behind EDC and eight zeros

constexpr std::uint32_t kPregap = 150;
constexpr std::uint8_t kMode1 = 1;

// ECMA-130 14.3: (x^16 + x^15 + x^2 + 1)(x^16 + x^2 + x + 1), the lowest bit of a byte first.
constexpr std::uint32_t kEdcPolynomial = 0xD8018001;

constexpr std::array<std::uint32_t, 256> make_edc_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < table.size(); ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) {
            value = value >> 1 ^ ((value & 1) != 0 ? kEdcPolynomial : 0);
        }
        table[i] = value;
    }
    return table;
}

/// Times x in GF(2^8) of x^8 + x^4 + x^3 + x^2 + 1 (ECMA-130 annex A).
constexpr std::uint8_t doubled(std::uint8_t value) {
    return static_cast<std::uint8_t>(value << 1 ^ ((value & 0x80) != 0 ? 0x1D : 0));
}

/// What times x + 1 gives the index.
constexpr std::array<std::uint8_t, 256> make_third_table() {
    std::array<std::uint8_t, 256> table{};
    for (unsigned i = 0; i < table.size(); ++i) {
        const auto value = static_cast<std::uint8_t>(i);
        table[doubled(value) ^ value] = value;
    }
    return table;
}

constexpr std::array<std::uint32_t, 256> kEdcTable = make_edc_table();
constexpr std::array<std::uint8_t, 256> kThird = make_third_table();

std::uint8_t decimal(std::uint32_t value) {
    return static_cast<std::uint8_t>(value / 10 << 4 | value % 10);
}

/// The Reed-Solomon product code's two parity bytes of `length` bytes, the i-th of which is at place(i): with them, the
/// sum of all bytes, and the sum of all bytes times falling powers of x down to 1, are zero.
template <typename Place>
std::array<std::uint8_t, 2> parity(const std::uint8_t* bytes, unsigned length, Place place) {
    std::uint8_t sum = 0;
    std::uint8_t weighted = 0;
    for (unsigned i = 0; i < length; ++i) {
        const std::uint8_t byte = bytes[place(i)];
        sum ^= byte;
        weighted = doubled(weighted) ^ byte;
    }
    const std::uint8_t first = kThird[sum ^ doubled(doubled(weighted))];
    return {first, static_cast<std::uint8_t>(sum ^ first)};
}

/// ECMA-130 annex A: the bytes from the header on, taken as two layers of 16-bit words' halves. P protects the columns
/// of a matrix 43 words wide, 24 words each; Q the diagonals of that and P, 43 words each.
void put_parity(std::array<std::uint8_t, kSize>& frame) {
    constexpr unsigned kWidth = 43;
    constexpr unsigned kRows = 24;
    constexpr unsigned kRowsWithP = 26;
    constexpr unsigned kWords = kWidth * kRowsWithP;
    std::uint8_t* const words = &frame[kHeader];
    for (unsigned half = 0; half < 2; ++half) {
        for (unsigned column = 0; column < kWidth; ++column) {
            const auto [first, second] =
                parity(words, kRows, [&](unsigned row) { return 2 * (kWidth * row + column) + half; });
            words[2 * (kWidth * kRows + column) + half] = first;
            words[2 * (kWidth * (kRows + 1) + column) + half] = second;
        }
    }
    for (unsigned half = 0; half < 2; ++half) {
        for (unsigned diagonal = 0; diagonal < kRowsWithP; ++diagonal) {
            const auto [first, second] = parity(words, kWidth, [&](unsigned i) {
                return 2 * (((kWidth + 1) * i + kWidth * diagonal) % kWords) + half;
            });
            words[2 * (kWords + diagonal) + half] = first;
            words[2 * (kWords + kRowsWithP + diagonal) + half] = second;
        }
    }
}
static_assert(kHeader + 2 * 43 * 24 == kParityP);

}  // namespace

std::optional<std::size_t> size_of(std::uint8_t parts) {
    const bool sync = (parts & kWantsSync) != 0;
    const bool header = (parts & kWantsHeader) != 0;
    const bool data = (parts & kWantsUserData) != 0;
    const bool edc = (parts & kWantsEdcAndEcc) != 0;
    const bool gap = (sync && !header && (parts & (kWantsSubheader | kWantsUserData)) != 0) || (edc && !data);
    if (gap) {
        return std::nullopt;
    }
    return (sync ? kHeader : 0) + (header ? kData - kHeader : 0) + (data ? kUserData : 0) + (edc ? kSize - kEdc : 0);
}

std::array<std::uint8_t, kSize> build(std::uint32_t lba, std::span<const std::uint8_t> data) {
    std::array<std::uint8_t, kSize> frame{};
    std::fill(&frame[1], &frame[kHeader - 1], std::uint8_t{0xFF});  // between two zeros
    const std::uint32_t number = lba + kPregap;
    frame[kHeader] = decimal(number / 75 / 60);
    frame[kHeader + 1] = decimal(number / 75 % 60);
    frame[kHeader + 2] = decimal(number % 75);
    frame[kHeader + 3] = kMode1;
    std::copy(data.begin(), data.end(), &frame[kData]);
    std::uint32_t edc = 0;
    for (std::size_t i = 0; i < kEdc; ++i) {
        edc = edc >> 8 ^ kEdcTable[(edc ^ frame[i]) & 0xFF];
    }
    for (unsigned i = 0; i < 4; ++i) {
        frame[kEdc + i] = static_cast<std::uint8_t>(edc >> (8 * i));
    }
    put_parity(frame);
    return frame;
}

std::vector<std::uint8_t> cut(std::uint32_t lba, std::span<const std::uint8_t> data, std::uint8_t parts) {
    const std::size_t first = (parts & kWantsSync) != 0 ? 0 : (parts & kWantsHeader) != 0 ? kHeader : kData;
    const std::size_t size = size_of(parts).value_or(0);
    std::vector<std::uint8_t> result;
    result.reserve(data.size() / kUserData * size);
    for (std::size_t at = 0; at + kUserData <= data.size(); at += kUserData) {
        const auto frame = build(lba++, data.subspan(at, kUserData));
        result.insert(result.end(), &frame[first], &frame[first] + size);
    }
    return result;
}

}  // namespace vpc::devices::cd_frame
