package layers

import (
	"strings"
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
)

func TestLoRA(t *testing.T) {
	d, err := NewDecoder(smallConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	w := livelyWeights(d)
	ids := someIDs(20, d.Config.VocabSize)
	want := run(t, onCPU(t), d, w, ids, packed.Batch(1, 20))
	a, err := d.WithLoRA(LoRA{Rank: 3, Alpha: 6, Targets: []string{"q_proj", "r_proj", "down_proj", "w2"}}) // RWKV-7 calls queries r; w2 is a JetBlock's
	if err != nil {
		t.Fatal(err)
	}
	adapted := a.Draw(2)
	adapters, generators := 0, 0
	for name, v := range adapted {
		if !IsAdapter(name) {
			copy(v.F32, w[name].F32)
			continue
		}
		if strings.Contains(name, ".w2.") {
			generators++
		} else {
			adapters++
		}
	}
	if n := d.Config.NumLayers * 2 * 2; adapters != n || generators < 2 {
		t.Errorf("%d adapter matrices, want %d, and %d of generators, want some", adapters, n, generators)
	}
	check.Close(t, "logits with fresh adapters", run(t, onCPU(t), a, adapted, ids, packed.Batch(1, 20)), want, 0)
	for name, v := range adapted {
		if strings.HasSuffix(name, loraB) {
			copy(v.F32, check.To[float32](check.Normal(check.Rand(uint64(len(name))), len(v.F32), 0.2)))
		}
	}
	cores := cpu.New(1)
	defer cores.Close()
	got := run(t, onCPU(t), a, adapted, ids, packed.Batch(1, 20))
	if check.RelErr(got, want) < 1e-3 {
		t.Error("adapters change nothing")
	}
	check.Close(t, "merged", run(t, onCPU(t), d, a.Merge(cores, adapted), ids, packed.Batch(1, 20)), got, check.Chunked32)
	if _, err := d.WithLoRA(LoRA{Rank: 3, Alpha: 6, Targets: []string{"q_prj"}}); err == nil || !strings.Contains(err.Error(), `lora target "q_prj" is no matrix`) {
		t.Errorf("got error %v", err)
	}
}
