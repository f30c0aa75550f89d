package sampling

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

func TestConformance(t *testing.T) { check.Battery(t, Conformance(), Large) }

// batch is S sequences with the same logits and settings, and seeds of their own.
type batch struct {
	d    *device.Device
	args DeviceArgs
}

func newBatch(d *device.Device, kind device.Type, s int, logits []float32, set Settings, seen []bool) *batch {
	vocab := len(logits)
	b := &batch{d: d, args: DeviceArgs{S: s, Vocab: vocab, Logits: d.New(kind, s*vocab), Settings: d.New(device.Float32, SettingsLen*s),
		Draws: d.New(device.Int32, 3*s), IDs: d.New(device.Int32, s), LogProb: d.New(device.Float32, s),
		Scratch: d.New(device.Float32, int(DeviceScratch(s, vocab, kind)/4))}}
	if kind == device.BF16 {
		half := make([]bf16.BF16, 0, s*vocab)
		for range s {
			for _, x := range logits {
				half = append(half, bf16.From(x))
			}
		}
		device.Upload(d, b.args.Logits, half)
	} else {
		device.Upload(d, b.args.Logits, slices.Repeat(logits, s))
	}
	device.Upload(d, b.args.Settings, slices.Repeat(set.Values(), s))
	var draws []int32
	for i := range s {
		draws = append(draws, Draws(uint64(vocab)<<32|uint64(i))...)
	}
	device.Upload(d, b.args.Draws, draws)
	if seen != nil {
		b.args.Seen = d.New(device.Int32, s*SeenWords(vocab))
		b.history(seen)
	}
	return b
}

func (b *batch) history(seen []bool) {
	var history []int32
	for id, s := range seen {
		if s {
			history = append(history, int32(id))
		}
	}
	device.Upload(b.d, b.args.Seen, slices.Repeat(Seen(b.args.Vocab, history), b.args.S))
}

func (b *batch) ids(t *testing.T) []int32 {
	t.Helper()
	b.d.Poison(b.args.IDs)
	b.d.Poison(b.args.Scratch)
	DeviceChoose(b.d, &b.args)
	ids := make([]int32, b.args.S)
	if err := device.Download(b.d, ids, b.args.IDs); err != nil {
		t.Fatal(err)
	}
	return ids
}

func (b *batch) free() {
	a := b.args
	for _, t := range []device.Tensor{a.Logits, a.Settings, a.Draws, a.IDs, a.LogProb, a.Seen, a.Scratch} {
		b.d.Free(t)
	}
}

// Draws have the probabilities of the reference: none outside the kept tokens, and Pearson's chi-squared statistic within
// five standard deviations.
func TestDistribution(t *testing.T) {
	d := check.OpenDevice(t)
	sequences, rounds := 400, 2
	if !d.Info().Emulated {
		rounds = 50
	}
	inf := float32(math.Inf(1))
	for i, c := range []struct {
		Settings
		vocab int
	}{
		{Settings{1, 1, 0, 1, 0}, 50},
		{Settings{0.7, 1, 0, 1, 0}, 56},
		{Settings{2.5, 1, 0, 1.3, 0}, 50},
		{Settings{1, 1, 5, 1, 0}, 50},
		{Settings{1, 1, 1000, 1, 0}, 51},
		{Settings{1, 0.9, 0, 1, 0}, 50},
		{Settings{1, 0.5, 0, 1, 0}, 64},
		{Settings{1, 1e-9, 0, 1, 0}, 50},
		{Settings{1.5, 0.8, 20, 1.1, 0}, 48},
		{Settings{0.9, 0.95, 40, 0.8, 0}, 50},
		{Settings{100, 0.5, 0, 1, 0}, 40},
		{Settings{3, 0.7, 300, 1, 0}, 601},
		{Settings{0, 1, 0, 1.2, 0}, 50},
		{Settings{1, 1, 0, 1, 0.1}, 50},
		{Settings{0.8, 0.95, 30, 1.1, 0.05}, 50},
		{Settings{1, 0.3, 0, 1, 0.02}, 50},
		{Settings{1, 1, 7, 1, 0.02}, 301},
		{Settings{1, 1, 0, 1, 1}, 50},
	} {
		for _, kind := range []device.Type{device.Float32, device.BF16} {
			if d.Info().Emulated && (i%2 == 0) == (kind == device.BF16) {
				continue // half of them, for time
			}
			t.Run(fmt.Sprint(i, kind), func(t *testing.T) {
				r := check.Rand(uint64(i))
				logits, exact := make([]float32, c.vocab), make([]float64, c.vocab)
				for id := range logits {
					logits[id] = bf16.From(float32(r.NormFloat64() * 2)).Float32()
				}
				logits[7], logits[8], logits[9] = logits[6], logits[6], -inf
				if c.Temperature == 100 {
					for id := range logits {
						logits[id] = float32(id % 2) // the nucleus ends among equals
					}
				}
				for id, x := range logits {
					exact[id] = float64(x)
				}
				var seen []bool
				if c.RepetitionPenalty != 1 {
					seen = make([]bool, c.vocab)
					seen[3], seen[6], seen[20] = true, true, true
				}
				b := newBatch(d, kind, sequences, logits, c.Settings, seen)
				defer b.free()
				count := make([]float64, c.vocab)
				for range rounds {
					for _, id := range b.ids(t) {
						count[id]++
					}
					if seen != nil {
						b.history(seen)
					}
				}
				compare(t, count, Reference(c.Settings, exact, seen), float64(sequences*rounds))
			})
		}
	}
}

func compare(t *testing.T, count, want []float64, draws float64) {
	t.Helper()
	var chi, freedom, rareWant, rareGot float64
	add := func(got, want float64) {
		chi += (got - want) * (got - want) / want
		freedom++
	}
	for id, p := range want {
		switch {
		case p == 0 && count[id] > 0:
			t.Errorf("token %d was drawn %v times and is not to be kept", id, count[id])
		case p*draws < 5:
			rareWant, rareGot = rareWant+p*draws, rareGot+count[id]
		default:
			add(count[id], p*draws)
		}
	}
	if rareWant > 5 {
		add(rareGot, rareWant)
	}
	if freedom--; chi > freedom+5*math.Sqrt(2*freedom)+1e-9 {
		t.Errorf("chi-squared %.1f at %v degrees of freedom", chi, freedom)
	}
}

// The same seed and number give the same token, alone or in a batch; tokens join the history and draws are counted.
func TestState(t *testing.T) {
	d := check.OpenDevice(t)
	logits := make([]float32, 100)
	for id := range logits {
		logits[id] = float32(check.Rand(uint64(id)).NormFloat64())
	}
	set := Settings{1, 0.9, 0, 1.2, 0}
	many, one := newBatch(d, device.Float32, 9, logits, set, make([]bool, 100)), newBatch(d, device.Float32, 1, logits, set, make([]bool, 100))
	defer many.free()
	defer one.free()
	var history []int32
	for step := range 5 {
		a, b := many.ids(t), one.ids(t)
		if a[0] != b[0] {
			t.Errorf("step %d: token %d in a batch of 9, %d alone", step, a[0], b[0])
		}
		history = append(history, b[0])
	}
	words, draws, prob := make([]int32, SeenWords(100)), make([]int32, 3), make([]float32, 1)
	device.Download(d, words, one.args.Seen)
	device.Download(d, prob, one.args.LogProb)
	if err := device.Download(d, draws, one.args.Draws); err != nil {
		t.Fatal(err)
	}
	for id := range int32(100) {
		if got := words[id/32]>>(id%32)&1 == 1; got != slices.Contains(history, id) {
			t.Errorf("token %d in the history: %v, drawn were %v", id, got, history)
		}
	}
	if draws[2] != 5 {
		t.Errorf("%d draws counted, want 5", draws[2])
	}
	check.Close(t, "log-probability", prob, []float64{LogProb(check.To[float64](logits), int(history[4]))}, check.Device32)
}

func TestBadLogits(t *testing.T) {
	d := check.OpenDevice(t)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, temperature := range []float64{0, 1} {
		for _, c := range []struct {
			logits []float32
			want   int32
		}{{[]float32{1, nan, 2}, -1}, {[]float32{1, inf, 0}, -1}, {[]float32{-inf, -inf}, -1}, {[]float32{-inf, -5, -inf}, 1}, {[]float32{-3e38, 1, 3e38, 2}, 2}} {
			b := newBatch(d, device.Float32, 1, c.logits, Settings{temperature, 1, 0, 1, 0}, nil)
			if got := b.ids(t)[0]; got != c.want {
				t.Errorf("temperature %v, logits %v: token %d, want %d", temperature, c.logits, got, c.want)
			}
			b.free()
		}
	}
}

// TestRows: sequences whose settings lie in rows of other numbers.
func TestRows(t *testing.T) {
	d := check.OpenDevice(t)
	const vocab = 70
	rows := []int32{3, 0, 2}
	values, draws, seen := make([]float32, 0, 4*SettingsLen), make([]int32, 12), make([]int32, 4*SeenWords(vocab))
	for row := range 4 {
		values = append(values, Settings{TopP: 1, RepetitionPenalty: 1 + float64(row%2)*9}.Values()...)
	}
	copy(seen[3*SeenWords(vocab):], Seen(vocab, []int32{69, 33})) // row 3 has a penalty and has seen the best token
	logits := make([]float32, vocab)
	logits[33], logits[2] = 5, 1
	b := newBatch(d, device.Float32, len(rows), logits, Settings{TopP: 1, RepetitionPenalty: 1}, nil)
	defer b.free()
	for _, x := range []device.Tensor{b.args.Settings, b.args.Draws} {
		d.Free(x)
	}
	b.args.Rows, b.args.Settings, b.args.Draws, b.args.Seen = check.Ints(d, rows), d.New(device.Float32, 4*SettingsLen), check.Ints(d, draws), check.Ints(d, seen)
	defer d.Free(b.args.Rows)
	device.Upload(d, b.args.Settings, values)
	if got, want := b.ids(t), []int32{2, 33, 33}; !slices.Equal(got, want) {
		t.Errorf("tokens %v, want %v", got, want)
	}
	device.Download(d, draws, b.args.Draws)
	if err := device.Download(d, seen, b.args.Seen); err != nil {
		t.Fatal(err)
	}
	if want := []int32{0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1}; !slices.Equal(draws, want) {
		t.Errorf("draws %v, want %v", draws, want)
	}
	if want := slices.Concat(Seen(vocab, []int32{33}), Seen(vocab, nil), Seen(vocab, []int32{33}), Seen(vocab, []int32{2, 69, 33})); !slices.Equal(seen, want) {
		t.Errorf("history %v, want %v", seen, want)
	}
}

// TestChunks: draws where a row is cut into many chunks, and into chunks of several steps, of tokens in the first and the last.
func TestChunks(t *testing.T) {
	d := check.OpenDevice(t)
	const sequences = 30
	for i, set := range []Settings{{1, 1, 0, 1, 0}, {1, 0.99, 0, 1, 0}, {1, 1, 2, 1, 0}, {1, 0.99, 3000, 1, 0}} {
		vocab := []int{9001, 33003}[i%2]
		at := []int{0, vocab - 1, vocab / 2, vocab - 5}[i]
		logits := make([]float32, vocab)
		for id := range logits {
			logits[id] = -float32(id%7) - 60
		}
		low, high := at, (at+5)%vocab
		logits[low], logits[high] = 0, 1
		b := newBatch(d, device.Float32, sequences, logits, set, nil)
		count := map[int32]int{}
		for _, id := range b.ids(t) {
			count[id]++
		}
		if l, h := count[int32(low)], count[int32(high)]; l+h != sequences || l < 1 || l > 18 {
			t.Errorf("vocabulary %d, settings %v: %v were drawn, want tokens %d and %d in proportion 1 to e", vocab, set, count, low, high)
		}
		b.free()
	}
}
