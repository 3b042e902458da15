// Opens the region of 64-bit ARM with dot products and its namespace; end.h closes both.
// Not a header of its own: see neon.cpp for the order of includes.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC push_options  // its target pragma does not reach lambdas here: see dot4 in verbs-neon.h
#endif
namespace millrace::neon {
