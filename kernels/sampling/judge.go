package sampling

import (
	"math"

	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/embedding"
)

// Judge tells of tokens how probable a model takes them, on a device, where logits stay. A greedy choice for every place brings the
// likeliest token and its log-probability, which the difference of two logits turns into that of another token.
type Judge struct {
	device      *device.Device
	vocab, most int
	args        DeviceArgs    // for most places
	at          device.Tensor // int32 [most], elements of logits
	found       device.Tensor // float32 [most]
}

// NewJudge makes one for logits of type t over vocab tokens, of which it takes most places at a time.
func NewJudge(d *device.Device, t device.Type, vocab, most int) *Judge {
	j := &Judge{d, vocab, most, DeviceArgs{
		Vocab: vocab, Settings: d.New(device.Float32, SettingsLen*most), Draws: d.New(device.Int32, 3*most),
		IDs: d.New(device.Int32, most), LogProb: d.New(device.Float32, most),
		Scratch: d.New(device.Float32, int(DeviceScratch(most, vocab, t)/4)),
	}, d.New(device.Int32, most), d.New(device.Float32, most)}
	var settings []float32
	for range most {
		settings = append(settings, Settings{TopP: 1, RepetitionPenalty: 1}.Values()...)
	}
	device.Upload(d, j.args.Settings, settings)
	d.Zero(j.args.Draws)
	return j
}

// Free gives the memory back.
func (j *Judge) Free() {
	for _, t := range []device.Tensor{j.args.Settings, j.args.Draws, j.args.IDs, j.args.LogProb, j.args.Scratch, j.at, j.found} {
		j.device.Free(t)
	}
}

// Tokens returns for each i the log-probability of token ids[i] by the logits of place places[i] of n, [n, Vocab], and whether no
// token is likelier. It is NaN where the logits are NaN or +Inf, or all -Inf.
func (j *Judge) Tokens(logits device.Tensor, n int, places, ids []int32) (logProb []float64, best []bool, err error) {
	first, top := make([]int32, n), make([]float32, n)
	for lo := 0; lo < n; lo += j.most {
		k := min(j.most, n-lo)
		a := j.args
		a.S, a.Logits = k, logits.Slice(lo*j.vocab, k*j.vocab)
		a.Settings, a.Draws, a.IDs, a.LogProb = a.Settings.Slice(0, SettingsLen*k), a.Draws.Slice(0, 3*k), a.IDs.Slice(0, k), a.LogProb.Slice(0, k)
		DeviceChoose(j.device, &a)
		if err := device.Download(j.device, first[lo:lo+k], a.IDs); err != nil {
			return nil, nil, err
		}
		if err := device.Download(j.device, top[lo:lo+k], a.LogProb); err != nil {
			return nil, nil, err
		}
	}
	at := make([]int32, 0, 2*len(ids))
	for i, p := range places {
		at = append(at, p*int32(j.vocab)+max(first[p], 0), p*int32(j.vocab)+ids[i])
	}
	z, err := j.elements(logits, at)
	if err != nil {
		return nil, nil, err
	}
	for i, p := range places {
		x := math.NaN()
		if first[p] >= 0 {
			x = float64(top[p]) + float64(z[2*i+1]) - float64(z[2*i])
		}
		logProb, best = append(logProb, x), append(best, first[p] == ids[i])
	}
	return logProb, best, nil
}

// elements returns those of a tensor at some places.
func (j *Judge) elements(of device.Tensor, at []int32) ([]float32, error) {
	found := make([]float32, len(at))
	for lo := 0; lo < len(at); lo += j.most {
		n := min(j.most, len(at)-lo)
		device.Upload(j.device, j.at.Slice(0, n), at[lo:lo+n])
		embedding.DeviceForward(j.device, &embedding.DeviceForwardArgs{N: n, Vocab: of.Len, D: 1, Y: j.found.Slice(0, n), W: of, IDs: j.at.Slice(0, n)})
		if err := device.Download(j.device, found[lo:lo+n], j.found.Slice(0, n)); err != nil {
			return nil, err
		}
	}
	return found, nil
}
