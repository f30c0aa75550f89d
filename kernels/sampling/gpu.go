package sampling

import (
	_ "embed"
	"fmt"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed sampling.cu
var text string

// DeviceArgs are a choice for S sequences in the memory of a device.
type DeviceArgs struct {
	S, Vocab int
	Logits   device.Tensor // [S, Vocab], of any type of float
	Settings device.Tensor // float32 [S, 4]: Settings.Values
	Draws    device.Tensor // int32 [S, 3], advanced: the low and high half of the seed, and the number of the next draw
	Seen     device.Tensor // int32 [S, SeenWords], the history as bits, which the tokens join; none where nobody has a penalty

	IDs     device.Tensor // result int32 [S]; −1 where a logit is NaN or +Inf, or all are −Inf
	LogProb device.Tensor // result float32 [S], before any setting; may be none
}

// SeenWords is how many int32 hold a bit for each token.
func SeenWords(vocab int) int { return (vocab + 31) / 32 }

// DeviceChoose queues the choice.
func DeviceChoose(q *device.Queue, a *DeviceArgs) {
	for _, l := range []struct {
		name string
		t    device.Tensor
		want int
	}{
		{"logits", a.Logits, a.S * a.Vocab}, {"settings", a.Settings, 4 * a.S}, {"draws", a.Draws, 3 * a.S}, {"ids", a.IDs, a.S},
		{"seen", a.Seen, a.S * SeenWords(a.Vocab)}, {"logprob", a.LogProb, a.S},
	} {
		if l.t.Len != l.want && !(l.t.None() && (l.name == "seen" || l.name == "logprob")) {
			panic(fmt.Sprintf("sampling: %s has %d values, want %d", l.name, l.t.Len, l.want))
		}
	}
	k, threads := kernel(q, "choose", a.Vocab, a.Logits.Type)
	q.Launch(k, device.Grid{X: a.S, Threads: threads}, a.IDs, a.LogProb, a.Logits, a.Settings, a.Draws, a.Seen)
}

// DeviceMark queues marking the tokens ids [N] of sequences, int32 [3, S+1], as the history of row s of seen.
func DeviceMark(q *device.Queue, seen, ids, sequences device.Tensor, vocab int) {
	s := sequences.Len/3 - 1
	if want := s * SeenWords(vocab); seen.Len != want {
		panic(fmt.Sprintf("sampling: seen has %d values, want %d", seen.Len, want))
	}
	k, _ := kernel(q, "mark", vocab, device.Float32)
	q.Launch(k, device.Grid{X: s, Threads: 256}, seen, ids, sequences, s)
}

// kernel returns a kernel and the threads of its blocks.
func kernel(q *device.Queue, name string, vocab int, t device.Type) (*device.Kernel, int) {
	threads := 512
	switch {
	case vocab <= 1<<10:
		threads = 64
	case vocab <= 1<<14:
		threads = 256
	}
	return q.Kernel(&device.Source{File: "sampling.cu", Text: text}, name, device.Define{Name: "TYPE", Value: t},
		device.Define{Name: "VOCAB", Value: vocab}, device.Define{Name: "BLOCK", Value: threads}), threads
}
