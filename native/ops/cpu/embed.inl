// Rows of the embedding table, decoded one by one.

static void embed_row(const EmbedArgs& args, int64_t i) {
  const Weight& table = args.table;
  const auto* row = static_cast<const char*>(table.data) + args.token(i) * table.row_bytes;
  float* out = args.out + i * table.cols;
  decode_row(table.dtype, row, table.cols, out);
  if (args.scale == 1.0f) return;
  for (int j = 0; j < table.cols; ++j) out[j] *= args.scale;
}

static void embed(Queue& queue, const EmbedArgs& args) {
  for (int i = 0; i < args.n; ++i)
    if (!args.can_tell(args.tokens[i]))
      return queue.fail(error(ErrorCode::invalid_argument,
                              "Expected a token id below %d but found %d", args.table.rows,
                              args.tokens[i]));
  queue.pool().parallel_for(args.n, grain_of(args.table.cols), [&](int begin, int end, int) {
    for (int i = begin; i < end; ++i) embed_row(args, i);
  });
}
