package sampling

import (
	_ "embed"
	"fmt"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed sampling.cu
var text string

// DeviceArgs are a choice for S sequences in the memory of a device. What a sequence keeps from choice to choice is in rows
// of Settings, Draws and Seen.
type DeviceArgs struct {
	S, Vocab int
	Logits   device.Tensor // [S, Vocab], of any type of float
	Rows     device.Tensor // int32 [S], the row of each sequence; none where sequence s has row s
	Settings device.Tensor // float32 [rows, SettingsLen]: Settings.Values
	Draws    device.Tensor // int32 [rows, 3], advanced: Draws
	Seen     device.Tensor // int32 [rows, SeenWords], the history as bits, which the tokens join; none where nobody has a penalty

	IDs     device.Tensor // result int32 [S]; −1 where a logit is NaN or +Inf, or all are −Inf
	LogProb device.Tensor // result float32 [S], before any setting; may be none

	Scratch device.Tensor // DeviceScratch bytes
}

// Draws is a row of DeviceArgs.Draws at the first draw of a seed: its low and high half, and the number of the next draw.
func Draws(seed uint64) []int32 { return []int32{int32(seed), int32(seed >> 32), 0} }

// SeenWords is how many int32 hold a bit for each token.
func SeenWords(vocab int) int { return (vocab + 31) / 32 }

// Seen is a row of DeviceArgs.Seen for a history of tokens of the vocabulary.
func Seen(vocab int, history []int32) []int32 {
	words := make([]int32, SeenWords(vocab))
	for _, id := range history {
		words[id/32] |= 1 << (id % 32)
	}
	return words
}

// Sizes of the survey's work, as sampling.cu has them.
const (
	mostChunks  = 1024
	surveyWarps = 8
	firstBytes  = 24
	chunkBytes  = 8
)

// survey returns the chunks of a row, and the blocks that look at them.
func survey(vocab int, t device.Type) (chunks, parts int) {
	step := 32 * max(1, 16/t.Size())
	if vocab%(step/32) != 0 {
		step = 32
	}
	steps := (vocab + step*mostChunks - 1) / (step * mostChunks)
	chunks = (vocab + step*steps - 1) / (step * steps)
	each := surveyWarps * max(1, 4/steps)
	return chunks, (chunks + each - 1) / each
}

// DeviceScratch returns the bytes of temporary memory of a choice for s sequences from logits of type t.
func DeviceScratch(s, vocab int, t device.Type) int64 {
	chunks, parts := survey(vocab, t)
	return device.Aligned(int64(s*parts*firstBytes)) + device.Aligned(int64(s*chunks*chunkBytes))
}

// DeviceChoose queues the choice.
func DeviceChoose(q *device.Queue, a *DeviceArgs) {
	rows := a.S
	if !a.Rows.None() {
		rows = a.Settings.Len / SettingsLen
	}
	for _, l := range []struct {
		name     string
		t        device.Tensor
		want     int
		optional bool
	}{
		{"logits", a.Logits, a.S * a.Vocab, false}, {"rows", a.Rows, a.S, true}, {"settings", a.Settings, SettingsLen * rows, false}, {"draws", a.Draws, 3 * rows, false},
		{"seen", a.Seen, rows * SeenWords(a.Vocab), true}, {"ids", a.IDs, a.S, false}, {"logprob", a.LogProb, a.S, true},
	} {
		if l.t.Len != l.want && !(l.optional && l.t.None()) {
			panic(fmt.Sprintf("sampling: %s has %d values, want %d", l.name, l.t.Len, l.want))
		}
	}
	chunks, blocks := survey(a.Vocab, a.Logits.Type)
	parts, rest := a.Scratch.Carve(device.Float32, a.S*blocks*firstBytes/4)
	table, _ := rest.Carve(device.Float32, a.S*chunks*chunkBytes/4)
	threads := 512
	switch {
	case a.Vocab <= 1<<10:
		threads = 64
	case a.Vocab <= 1<<14:
		threads = 256
	}
	kernel := func(name string) *device.Kernel {
		return q.Kernel(&device.Source{File: "sampling.cu", Text: text}, name, device.Define{Name: "TYPE", Value: a.Logits.Type},
			device.Define{Name: "VOCAB", Value: a.Vocab}, device.Define{Name: "BLOCK", Value: threads})
	}
	q.Launch(kernel("survey"), device.Grid{X: blocks, Y: a.S, Threads: 32 * surveyWarps}, parts, table, a.Logits, a.Settings, a.Seen, a.Rows)
	q.Launch(kernel("choose"), device.Grid{X: a.S, Threads: threads}, a.IDs, a.LogProb, parts, table, a.Logits, a.Settings, a.Draws, a.Seen, a.Rows)
}
