// Closes what a begin-<isa>.h opened.
}  // namespace millrace::<isa>
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
