// The table of pre-tokenizers: names as GGUF files write them, patterns, flags.
// A pattern differs from the one in a vocabulary's own files where llama.cpp runs another form of
// it: its ids are the reference.

#include "text/pre-tokenizer.h"

namespace millrace {
namespace {

constexpr char k_gpt2[] = R"x('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+|)x"
                          R"x( ?[^\s\p{L}\p{N}]+|\s+(?!\S))x";
constexpr char k_llama3[] = R"x((?i:'s|'t|'re|'ve|'m|'ll|'d)|)x"
                            R"x([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)x"
                            R"x(\s*[\r\n]+|\s+(?!\S)|\s+)x";
constexpr char k_qwen2[] = R"x((?i:'s|'t|'re|'ve|'m|'ll|'d)|)x"
                           R"x([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)x"
                           R"x(\s*[\r\n]+|\s+(?!\S)|\s+)x";
constexpr char k_qwen35[] =
    R"x((?i:'s|'t|'re|'ve|'m|'ll|'d)|)x"
    R"x([^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)x"
    R"x(\s*[\r\n]+|\s+(?!\S)|\s+)x";
constexpr char k_minicpm[] = R"x((?i:'s|'t|'re|'ve|'m|'ll|'d)|)x"
                             R"x([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|)x"
                             R"x(\s*[\r\n]+|\s+(?!\S)|\s+)x";
constexpr char k_jais2[] =
    R"x((?i:'s|'t|'re|'ve|'m|'ll|'d)|)x"
    R"x([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)x"
    R"x(\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|)x"
    R"x(\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s)x";
constexpr char k_seed[] = R"x((?i:'s|'t|'re|'ve|'m|'ll|'d)|)x"
                          R"x([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|)x"
                          R"x(\s*[\r\n]+|\s+(?!\S)|\s+)x";
constexpr char k_bailing[] = R"x('(?i:[sdmt]|ll|ve|re)|)x"
                             R"x([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)x"
                             R"x(\s*[\r\n]|\s+(?!\S)|\s+)x";
constexpr char k_exaone_moe[] = R"x((?i:'s|'t|'re|'ve|'m|'ll|'d)|)x"
                                R"x([^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}|)x"
                                R"x( ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)x";
// Upper case is any letter but a-z, lower case any but A-Z.
constexpr char k_tekken[] = R"x([^\r\n\p{L}\p{N}]?(?:(?=\p{L})[^a-z])*(?:(?=\p{L})[^A-Z])+|)x"
                            R"x([^\r\n\p{L}\p{N}]?(?:(?=\p{L})[^a-z])+(?:(?=\p{L})[^A-Z])*|)x"
                            R"x(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)x"
                            R"x(\s*[\r\n]+|\s+(?!\S)|\s+)x";
constexpr char k_gpt4o[] =
    R"x([^\r\n\p{L}\p{N}]?(?:(?=\p{L})[^a-z])*(?:(?=\p{L})[^A-Z])+(?i:'s|'t|'re|'ve|'m|'ll|)x"
    R"x('d)?|)x"
    R"x([^\r\n\p{L}\p{N}]?(?:(?=\p{L})[^a-z])+(?:(?=\p{L})[^A-Z])*(?i:'s|'t|'re|'ve|'m|'ll|)x"
    R"x('d)?|)x"
    R"x(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)x"
    R"x(\s*[\r\n]+|\s+(?!\S)|\s+)x";
constexpr char k_granite_embed[] =
    R"x([^\r\n\p{L}\p{N}]?(?:(?=[\p{L}\p{M}])[^a-z])*(?:(?=[\p{L}\p{M}])[^A-Z])+(?i:'s|'t|)x"
    R"x('re|'ve|'m|'ll|'d)?|)x"
    R"x([^\r\n\p{L}\p{N}]?(?:(?=[\p{L}\p{M}])[^a-z])+(?:(?=[\p{L}\p{M}])[^A-Z])*(?i:'s|'t|)x"
    R"x('re|'ve|'m|'ll|'d)?|)x"
    R"x(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)x"
    R"x(\s*[\r\n]+|\s+(?!\S)|\s+)x";
constexpr char k_tiny_aya[] =
    R"x([^\r\n\p{L}\p{N}]?[\p{L}\p{M}]*[\p{L}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)x"
    R"x([^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+[\p{L}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)x"
    R"x(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)x"
    R"x(\s*[\r\n]+|\s+(?!\S)|\s+)x";
constexpr char k_youtu[] =
    R"x([^\r\n\p{L}\p{N}]?[\p{L}\p{M}]*[\p{L}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)x"
    R"x([^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+[\p{L}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)x"
    R"x(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)x"
    R"x(\s*[\r\n]+|\s+(?!\S)|\s+)x";
// Hangul, punctuation, Bopomofo, Han and kana.
constexpr char k_youtu_scripts[] =
    R"x([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018})x"
    R"x(\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+|[)x"
    R"x(\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)x";
constexpr char k_kimi_k2[] =
    R"x([\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F})x"
    R"x(\x{2B740}-\x{2B81F}\x{2B820}-\x{2CEAF}\x{2CEB0}-\x{2EBEF}\x{F900}-\x{FAFF})x"
    R"x(\x{2F800}-\x{2FA1F}]+|)x"
    R"x([^\r\n\p{L}\p{N}]?(?:(?![\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF})x"
    R"x(\x{2A700}-\x{2B73F}\x{2B740}-\x{2B81F}\x{2B820}-\x{2CEAF}\x{2CEB0}-\x{2EBEF})x"
    R"x(\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}])\p{L})+)x"
    R"x((?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)x"
    R"x(\s*[\r\n]+|\s+(?!\S)|\s+)x";
constexpr char k_deepseek3[] = R"x([!-/:-@\[-`{-~][A-Za-z]+|)x"
                               R"x([^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)x"
                               R"x(\s*[\r\n]+|\s+(?!\S)|\s+)x";
// Han and kana.
constexpr char k_deepseek3_cjk[] = R"x([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)x";
// Latin, Greek, Cyrillic, Armenian, Georgian and the other cased scripts.
constexpr char k_deepseek_latin[] =
    R"x(\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF})x"
    R"x(\x{1C4}-\x{293}\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F})x"
    R"x(\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481})x"
    R"x(\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD})x"
    R"x(\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77})x"
    R"x(\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45})x"
    R"x(\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D})x"
    R"x(\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC})x"
    R"x(\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4})x"
    R"x(\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D})x"
    R"x(\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139})x"
    R"x(\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B})x"
    R"x(\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D})x"
    R"x(\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E})x"
    R"x(\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A})x"
    R"x(\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB})x"
    R"x(\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+)x";
constexpr char k_deepseek_punctuation[] =
    R"x(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3001}-\x{3002}]+)x";
// White space is not of it: the reference puts a vertical tab in its place first.
constexpr char k_deepseek_cjk[] =
    R"x((?:(?!\s)[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}])+)x";
constexpr char k_falcon_punctuation[] = R"x([\p{P}\$\+<=>\^~\|`]+)x";
constexpr char k_default_punctuation[] = R"x([\p{P}\$\+<=>\^~\|]+)x";
// Han, kana, Thai, Lao, Khmer, Myanmar, Hangul.
constexpr char k_afmoe_scripts[] =
    R"x([\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{8C48}-\x{FAFF}\x{3040}-\x{309F})x"
    R"x(\x{30A0}-\x{30FF}\x{FF65}-\x{FF9F}\x{2F00}-\x{2FDF}\x{E40}-\x{E7F}\x{E80}-\x{EFF})x"
    R"x(\x{1780}-\x{17FF}\x{1000}-\x{109F}\x{AA60}-\x{AA7F}\x{A9E0}-\x{A9FF})x"
    R"x(\x{AC00}-\x{D7AF}\x{1100}-\x{11FF}]+)x";
constexpr char k_bloom[] =
    R"x( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C})]+)x";
constexpr char k_number[] = R"(\p{N})";
constexpr char k_numbers[] = R"(\p{N}+)";
constexpr char k_three_numbers[] = R"(\p{N}{1,3})";
constexpr char k_three_digits[] = "[0-9][0-9][0-9]";
constexpr char k_newline[] = R"([\r\n])";
constexpr char k_lines[] = R"([^\n]+|\n+)";

constexpr PassKind k_ends = PassKind::ends_from_right;
constexpr PassKind k_starts = PassKind::starts_from_right;

// Order of the flags: ignore_merges, add_bos, clean_spaces, escapes_spaces, whole_newlines,
// has_default_bos.
std::vector<PreTokenizerRow> make_rows() {
  return {
      {{"default"}, {{k_default_punctuation}, {k_gpt2}, {k_numbers}, {k_three_digits}}},
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
        "jina-v5-nano"},
       {{k_llama3}},
       true,
       true},
      {{"dbrx", "smaug-bpe"}, {{k_llama3}}},
      {{"glm4", "chatglm-bpe"}, {{k_llama3}}, false, false, true, false, false, false},
      {{"jais-2"}, {{k_jais2}}},
      {{"minicpm5"}, {{k_three_numbers}, {k_minicpm}}, true},
      {{"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "hunyuan", "solar-open", "grok-2"},
       {{k_qwen2}},
       false,
       false,
       false},
      {{"stablelm2", "megrez"}, {{k_qwen2}}},
      {{"laguna"}, {{k_lines}, {k_qwen2}}, false, false, false},
      {{"qwen35"}, {{k_qwen35}}, false, false, false},
      {{"seed-coder"}, {{k_seed}}, false, false, false},
      {{"bailingmoe", "bailingmoe2", "llada-moe"}, {{k_bailing}}, false, false, false},
      {{"exaone-moe"}, {{k_exaone_moe}}},
      {{"deepseek-llm"},
       {{k_newline},
        {k_deepseek_latin},
        {k_deepseek_punctuation},
        {R"(\s+$)"},
        {k_deepseek_cjk},
        {k_numbers}},
       false,
       false,
       false},
      {{"deepseek-coder"},
       {{k_newline}, {R"(\s?\p{L}+)"}, {R"(\s?\p{P}+)"}, {k_deepseek_cjk}, {k_number}},
       false,
       false,
       false},
      {{"deepseek-v3", "hunyuan-dense", "joyai-llm"},
       {{k_three_numbers}, {k_deepseek3_cjk}, {k_deepseek3}},
       false,
       false,
       false},
      {{"afmoe"},
       {{k_three_numbers, k_ends}, {k_afmoe_scripts}, {k_deepseek3}},
       false,
       false,
       false},
      {{"youtu"}, {{k_youtu_scripts}, {k_youtu}}, true, false, false},
      {{"falcon"}, {{k_falcon_punctuation}, {k_gpt2}, {k_three_digits}}},
      {{"starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"},
       {{k_number}, {k_gpt2}}},
      {{"command-r", "smollm"}, {{k_number}, {k_gpt2}}, false, false, false},
      {{"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "jina-v1-en",
        "jina-v2-code", "roberta-bpe", "gigachat", "a.x-4.0", "mellum", "modern-bert", "exaone4",
        "mpt", "olmo", "jais"},
       {{k_gpt2}}},
      {{"trillion", "granite-docling"}, {{k_gpt2}}, false, false, false},
      {{"bloom", "gpt3-finnish"}, {{k_bloom}}},
      {{"poro-chat"}, {{k_bloom}}, false, false, false},
      {{"viking"}, {{k_bloom}, {k_number}}, false, false, false},
      {{"tekken"}, {{k_tekken}}, true, true, false},
      {{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, {{k_gpt4o}}, false, false, false},
      {{"granite-embed-multi-97m"}, {{k_granite_embed}}, true, false, false},
      {{"tiny_aya", "cohere2moe"}, {{k_three_numbers, k_ends}, {k_tiny_aya}}, false, false, false},
      {{"superbpe"}, {{k_numbers}, {R"(\d{3})", k_starts}}, false, false, false},
      {{"kimi-k2"}, {{k_kimi_k2}}, false, false, false},
      {{"chameleon"},
       {{"<sentinel:[0-9]+>"},
        {"(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"},
        {R"([\t\n]|    |  )"},
        {k_number},
        {R"([\p{P}!-/:-@\[-`{-~])"},
        {k_gpt2}},
       false,
       true,
       false},
      {{"gemma4", "granite-embed-multi-311m"}, {{k_lines}}, false, true, true, true, true, false},
      {{"sarvam-moe"}, {{k_lines}}, false, false, false, true},
  };
}

}  // namespace

std::span<const PreTokenizerRow> pre_tokenizer_rows() {
  static const std::vector<PreTokenizerRow> k_rows = make_rows();
  return k_rows;
}

}  // namespace millrace
