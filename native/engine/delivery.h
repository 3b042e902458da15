#pragma once
// From what the sampler found to what the caller receives: tokens into text, ends, usage.
// Threads: engine thread only.

#include "engine/admission.h"
#include "engine/request.h"
#include "engine/sampler.h"
#include "engine/sequence.h"

namespace millrace {

// Appends the drawn token and delivers the text it completes; says whether and how the answer ends.
// A token that ends the answer (end of sequence, or one of stopTokens) is neither delivered nor
// counted. A stop string ends it with the token that completes it, which is delivered and counted,
// its text cut before the string.
FinishReason accept(Sequence& sequence, Draw&& draw, const Limits& limits, double now_ms,
                    EventBatch& events);
// Keeps what was found about the row at `position` of a score request.
void accept_score(Sequence& sequence, int position, Draw&& draw);

// The last events of a sequence: text held back, then done or score.
void deliver_end(Sequence& sequence, FinishReason reason, double now_ms, EventBatch& events);
void deliver_error(int64_t id, Status status, EventBatch& events);

// Makes the pieces of each answer one, at the place of the first.
void join_pieces(EventBatch& events);

}  // namespace millrace
