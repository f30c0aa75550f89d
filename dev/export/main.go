// Command export writes a model as gojet saves it, and beside it what gojet computes from the copy, for
// hf_export_check.py to compare with transformers.
package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/checkpoints/safetensors"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/layers"
)

func main() {
	dtype := pflag.String("dtype", "", "type of the weights: float32, bfloat16 or float16 (default the model's)")
	shard := pflag.Int64("shard", 0, "begin another file when one would exceed so many bytes (default a single file)")
	ids := pflag.String("ids", "", "token ids to compute logits of, with blanks between (default 64 at random)")
	pflag.Usage = func() {
		fmt.Fprintln(os.Stderr, "go run ./dev/export MODEL OUT [flags] writes the folder OUT and OUT-expected.safetensors")
		pflag.PrintDefaults()
	}
	pflag.Parse()
	if pflag.NArg() != 2 {
		pflag.Usage()
		os.Exit(2)
	}
	model, out := pflag.Arg(0), strings.TrimRight(pflag.Arg(1), "/")
	err := save(model, out, checkpoints.SaveOptions{DType: *dtype, MaxShardBytes: *shard})
	if err == nil {
		err = expect(out, *ids)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "export:", err)
		os.Exit(1)
	}
}

// save copies the model in dir to out.
func save(dir, out string, o checkpoints.SaveOptions) (err error) {
	c, err := checkpoints.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	d, err := layers.NewDecoder(c.Config)
	if err != nil {
		return err
	}
	w, err := d.Load(c, layers.Float32)
	if err != nil {
		return err
	}
	var params []checkpoints.Param
	for _, p := range d.Params() {
		params = append(params, checkpoints.Param{Name: p.Name, Shape: p.Shape, Values: safetensors.Values(w[p.Name].F32)})
	}
	return checkpoints.Save(out, c.Config, params, o)
}

// expect writes input_ids [1, T] and the logits [1, T, vocabulary] that gojet computes from the copy.
func expect(out, text string) (err error) {
	c, err := checkpoints.Open(out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	d, err := layers.NewDecoder(c.Config)
	if err != nil {
		return err
	}
	w, err := d.Load(c, layers.AsStored)
	if err != nil {
		return err
	}
	ids, err := tokens(text, c.Config.VocabSize)
	if err != nil {
		return err
	}
	cores := cpu.New(0)
	defer cores.Close()
	e, err := infer.New(d, w, autograd.OnCPU(cores), infer.Config{Capacity: len(ids), Chunk: len(ids), AllLogits: true})
	if err != nil {
		return err
	}
	logits, err := e.Feed(ids)
	if err != nil {
		return err
	}
	wide := make([]int64, len(ids))
	for i, id := range ids {
		wide[i] = int64(id)
	}
	return safetensors.Write(out+"-expected.safetensors", []safetensors.Source{
		safetensors.Int64s("input_ids", []int{1, len(ids)}, wide),
		safetensors.Float32s("logits", []int{1, len(ids), e.Vocab()}, safetensors.F32, safetensors.Values(logits)),
	}, nil)
}

// tokens reads ids, or draws some that are the same each time.
func tokens(text string, vocab int) ([]int32, error) {
	var ids []int32
	for _, word := range strings.Fields(text) {
		id, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("--ids: %w", err)
		}
		ids = append(ids, int32(id))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for text == "" && len(ids) < 64 {
		ids = append(ids, int32(r.IntN(vocab)))
	}
	return ids, nil
}
