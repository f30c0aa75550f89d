package sampling

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// TestJudge compares log-probabilities with those computed in float64, over more places than are taken at a time; one place has
// no likeliest token.
func TestJudge(t *testing.T) {
	d := check.OpenDevice(t)
	const vocab, n, most = 301, 7, 3
	rnd := rand.New(rand.NewPCG(1, 2))
	h := make([]float32, n*vocab)
	for i := range h {
		h[i] = float32(3 * rnd.NormFloat64())
	}
	h[5*vocab+17] = float32(math.NaN())
	logits := d.New(device.Float32, len(h))
	defer d.Free(logits)
	device.Upload(d, logits, h)
	j := NewJudge(d, device.Float32, vocab, most)
	defer j.Free()

	var places, ids []int32
	for p := range n {
		likeliest := 0
		for k, x := range h[p*vocab : (p+1)*vocab] {
			if x > h[p*vocab+likeliest] {
				likeliest = k
			}
		}
		places, ids = append(places, int32(p), int32(p)), append(ids, int32(rnd.IntN(vocab)), int32(likeliest))
	}
	logProb, best, err := j.Tokens(logits, n, places, ids)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range places {
		if p == 5 {
			if !math.IsNaN(logProb[i]) || best[i] {
				t.Errorf("place %d of NaN: %v, likeliest: %v", p, logProb[i], best[i])
			}
			continue
		}
		row, sum := h[int(p)*vocab:(int(p)+1)*vocab], 0.0
		for _, x := range row {
			sum += math.Exp(float64(x))
		}
		want := float64(row[ids[i]]) - math.Log(sum)
		if e := math.Abs(logProb[i] - want); !(e <= check.Device32*math.Abs(want)) || best[i] != (i%2 == 1 || ids[i] == ids[i^1]) {
			t.Errorf("place %d, token %d: %v, want %v; likeliest: %v", p, ids[i], logProb[i], want, best[i])
		}
	}
}
