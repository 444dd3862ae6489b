#include "random_program.h"

#include <array>
#include <initializer_list>

#include "guest.h"

namespace vpc::test {
namespace {

using Bytes = std::vector<std::uint8_t>;

// Instructions without operands, or whose operands may be whatever follows.
const Bytes kPlain[] = {
    {0xF4},              // HLT
    {0xFA},              // CLI
    {0xFB},              // STI
    {0xFD},              // STD
    {0x9C},              // PUSHF
    {0x9D},              // POPF
    {0xCF},              // IRET
    {0xCC},              // INT3
    {0xCE},              // INTO
    {0xCB},              // RETF
    {0xC3},              // RET
    {0x60},              // PUSHA
    {0x61},              // POPA
    {0xC9},              // LEAVE
    {0x07},              // POP ES
    {0x17},              // POP SS
    {0x1F},              // POP DS
    {0x0F, 0xA1},        // POP FS
    {0x0F, 0xA9},        // POP GS
    {0x0F, 0x06},        // CLTS
    {0x0F, 0x08},        // INVD
    {0x0F, 0x09},        // WBINVD
    {0x0F, 0x0B},        // UD2
    {0x0F, 0x05},        // SYSCALL
    {0x0F, 0x07},        // SYSRET
    {0x0F, 0x30},        // WRMSR
    {0x0F, 0x31},        // RDTSC
    {0x0F, 0x32},        // RDMSR
    {0x0F, 0x33},        // RDPMC
    {0x0F, 0x34},        // SYSENTER
    {0x0F, 0x35},        // SYSEXIT
    {0x0F, 0x77},        // EMMS
    {0x0F, 0xA2},        // CPUID
    {0x0F, 0xAA},        // RSM
    {0x0F, 0x01, 0xC8},  // MONITOR
    {0x0F, 0x01, 0xC9},  // MWAIT
    {0x0F, 0x01, 0xD0},  // XGETBV
    {0x0F, 0x01, 0xD1},  // XSETBV
    {0x0F, 0x01, 0xD8},  // VMRUN
    {0x0F, 0x01, 0xF8},  // SWAPGS
    {0x0F, 0x01, 0xF9},  // RDTSCP
    {0xF1},              // ICEBP
    {0x9B},              // FWAIT
    {0xDB, 0xE3},        // FNINIT
    {0xF3, 0xA4},        // REP MOVSB
    {0xF3, 0xA5},        // REP MOVSD
    {0xF3, 0xAB},        // REP STOSD
    {0xF2, 0xAE},        // REPNE SCASB
    {0xF3, 0xA6},        // REPE CMPSB
    {0xF3, 0x6C},        // REP INSB
    {0xF3, 0x6D},        // REP INSD
    {0xF3, 0x6E},        // REP OUTSB
    {0xEC},              // IN AL,DX
    {0xED},              // IN EAX,DX
    {0xEE},              // OUT DX,AL
    {0xEF},              // OUT DX,EAX
    {0xD7},              // XLAT
    {0xD6},              // SALC
    {0x27},              // DAA
};

// Opcodes that a ModRM byte follows.
const Bytes kWithModRm[] = {
    {0x8E},              // MOV sreg,r/m
    {0x8C},              // MOV r/m,sreg
    {0x0F, 0x00},        // SLDT STR LLDT LTR VERR VERW
    {0x0F, 0x01},        // SGDT SIDT LGDT LIDT SMSW LMSW INVLPG
    {0x0F, 0x02},        // LAR
    {0x0F, 0x03},        // LSL
    {0x0F, 0x20},        // MOV r,CRn
    {0x0F, 0x21},        // MOV r,DRn
    {0x0F, 0x22},        // MOV CRn,r
    {0x0F, 0x23},        // MOV DRn,r
    {0x0F, 0xAE},        // FXSAVE FXRSTOR LDMXCSR STMXCSR CLFLUSH
    {0x0F, 0xB2},        // LSS
    {0x0F, 0xB4},        // LFS
    {0xC4},              // LES
    {0xC5},              // LDS
    {0xFF},              // INC CALL CALLF JMP JMPF PUSH
    {0x8F},              // POP r/m
    {0x62},              // BOUND
    {0x63},              // ARPL
    {0xF7},              // DIV, IDIV and others
    {0x0F, 0xC7},        // CMPXCHG8B
    {0xF0, 0x0F, 0xB1},  // LOCK CMPXCHG
    {0xF0, 0x01},        // LOCK ADD
    {0x01},
    {0x89},
    {0x8B},  // ADD, MOV
    {0xA5},
    {0x0F, 0xAB},
    {0x0F, 0xBC},  // MOVS, BTS, BSF
    {0xD8},
    {0xD9},
    {0xDA},
    {0xDB},
    {0xDC},  // x87
    {0xDD},
    {0xDE},
    {0xDF},
    {0x0F, 0x28},
    {0x0F, 0x58},  // x87, MOVAPS, ADDPS
    {0xF3, 0x0F, 0x2D},
    {0x0F, 0x6F},
    {0x0F, 0xE7},
    {0x0F, 0xC6},  // CVTSS2SI, MOVQ, MOVNTQ, SHUFPS
    {0x0F, 0x38},
    {0x0F, 0x3A},
    {0x66, 0x0F, 0x7E},  // later SSE
};

constexpr std::array<std::uint16_t, 24> kSelectors{
    0,          kCode32,       kData32,         kUserCode,   kUserData,   kTssSelector,   kConforming,    kCode16,
    kData16,    kTaskSelector, kTask16Selector, kAbsentData, kAbsentCode, kRing1Code | 1, kRing1Data | 1, kSpare,
    kBeyondGdt, kCode32 | 4,   kData32 | 3,     3,           0xFFFF,      0x1000,         0xF000,         0x900};

constexpr std::array<std::uint32_t, 30> kValues{
    0,          1,          0xFF,       0xFFFF,         0xFFFE,     0x10000,   0x7FFFFFFF,  0x80000000,
    0xFFFFFFFF, 0xFFFFFFFC, 0xFFFFF000, kGdt,           kIdt,       kTss,      kTaskTss,    kInnerStack,
    kStack,     kHandlers,  kData,      kCode,          kPageTable, kCode - 1, kMemory - 2, kMemory,
    0xE0000000, 0xFFFF0000, 0xA0000,    kPageDirectory, 0xC0000080, 0x174};

// Control register contents that switch something on.
constexpr std::array<std::uint32_t, 12> kControl{0x00000011, 0x80000011, 0x80010011, 0x00000010,
                                                 0x6000003F, 0xE0000011, 0x00000200, 0x00000030,
                                                 0x000006FF, 0x00000080, 0x80000001, 0x00000004};

}  // namespace

std::uint32_t RandomProgram::value() {
    switch (below(5)) {
        case 0:
            return kValues[below(kValues.size())] + below(16);
        case 1:
            return kSelectors[below(kSelectors.size())];
        case 2:
            return below(kMemory);
        case 3:
            return kControl[below(kControl.size())];
        default:
            return static_cast<std::uint32_t>(random_());
    }
}

void RandomProgram::instruction(Bytes& out) {
    const auto append = [&](const Bytes& bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); };
    const auto number = [&](std::uint32_t value, unsigned size) {
        for (unsigned i = 0; i < size; ++i) {
            out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
        }
    };
    if (chance(10)) {
        constexpr std::array<std::uint8_t, 10> kPrefixes{0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x26, 0x2E, 0x36, 0x64, 0x65};
        out.push_back(kPrefixes[below(kPrefixes.size())]);
    }
    switch (below(10)) {
        case 0:
            append(kPlain[below(std::size(kPlain))]);
            break;
        case 1:
        case 2:
            append(kWithModRm[below(std::size(kWithModRm))]);
            out.push_back(static_cast<std::uint8_t>(random_()));
            if (chance(50)) {
                number(value(), 4);
            }
            break;
        case 3:  // MOV r32,imm32, so that the next instruction has something to work on
            out.push_back(static_cast<std::uint8_t>(0xB8 + below(8)));
            number(value(), 4);
            break;
        case 4: {  // a segment register, by way of AX
            append({0x66, 0xB8});
            number(kSelectors[below(kSelectors.size())], 2);
            append({0x8E, static_cast<std::uint8_t>(0xC0 | below(6) << 3)});
            break;
        }
        case 5:  // INT n
            append({0xCD, static_cast<std::uint8_t>(chance(50) ? 0x40 + below(4) : random_())});
            break;
        case 6:  // JMPF, CALLF
            out.push_back(chance(50) ? 0xEA : 0x9A);
            number(value(), 4);
            number(kSelectors[below(kSelectors.size())], 2);
            break;
        case 7:  // a control register, by way of EAX
            out.push_back(0xB8);
            number(chance(80) ? kControl[below(kControl.size())] : value(), 4);
            append({0x0F, 0x22, static_cast<std::uint8_t>(0xC0 | below(5) << 3)});
            break;
        case 8:  // a store into the code that runs, or a short jump
            if (chance(50)) {
                append({0xC7, 0x05});
                number(kCode + below(256), 4);
                number(value(), 4);
            } else {
                append({static_cast<std::uint8_t>(chance(50) ? 0xEB : 0x70 + below(16)),
                        static_cast<std::uint8_t>(random_())});
            }
            break;
        default:
            for (std::uint32_t i = 1 + below(6); i > 0; --i) {
                out.push_back(static_cast<std::uint8_t>(random_()));
            }
    }
}

Bytes RandomProgram::code(std::size_t size) {
    Bytes out;
    while (out.size() < size) {
        instruction(out);
    }
    out.resize(size);
    return out;
}

}  // namespace vpc::test
