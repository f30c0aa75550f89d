package layers

import (
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/check"
)

func TestStudentFromTeacher(t *testing.T) {
	hybrid := smallConfig(t)
	full := hybrid.Clone()
	for i := range full.LayerTypes {
		full.LayerTypes[i] = "attn"
	}
	// key dim 12 of 2 heads: as wide as the queries' 4 heads of 6
	for _, kind := range []string{"jet", "rwkv7"} {
		if err := hybrid.SetJet(kind, checkpoints.JetConfig{NumHeads: 2, HeadDim: 12, ExpandV: 1, NormEps: 1e-5, ConvSize: 4, GeneratorReduction: 4, Mode: "chunk"}); err != nil {
			t.Fatal(err)
		}
	}
	teacher, err := NewDecoder(full)
	if err != nil {
		t.Fatal(err)
	}
	student, err := NewDecoder(hybrid)
	if err != nil {
		t.Fatal(err)
	}
	tw := teacher.Draw(3)
	for _, mapped := range []bool{false, true} {
		w, err := student.From(teacher, tw, 4, mapped)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range student.Params() {
			got, ok := w[p.Name]
			if !ok || !slices.Equal(got.Shape, p.Shape) {
				t.Fatalf("%s has shape %v, want %v", p.Name, got.Shape, p.Shape)
			}
			kind := "outside"
			if i := strings.Index(p.Name, ".self_attn."); i >= 0 {
				kind = hybrid.LayerTypes[p.Name[i-1]-'0']
			}
			switch {
			case kind == "outside" || kind == "attn" || kind == "swa":
				check.Close(t, p.Name, got.F32, tw[p.Name].F32, 0)
			case !mapped || !strings.Contains(p.Name, "q_proj") || kind != "jet":
				if v, ok := tw[p.Name]; ok && !mapped && check.RelErr(got.F32, v.F32) == 0 {
					t.Errorf("%s is the teacher's without being asked for", p.Name)
				}
			default:
				check.Close(t, p.Name, got.F32, tw[p.Name].F32, 0)
			}
		}
		if !mapped {
			continue
		}
		// RWKV-7 calls queries r
		at := layerPrefix(slices.Index(hybrid.LayerTypes, "rwkv7")) + "self_attn."
		check.Close(t, "r", w[at+"r_proj.weight"].F32, tw[at+"q_proj.weight"].F32, 0)
		// keys: 2 heads of 6 become 4 by repeating each
		k, from := w["model.layers.2.self_attn.k_proj.weight"].F32, tw["model.layers.2.self_attn.k_proj.weight"].F32
		head := 6 * hybrid.HiddenSize
		check.Close(t, "first copy of head 1", k[2*head:3*head], from[head:], 0)
		check.Close(t, "second copy of head 1", k[3*head:], from[head:], 0)
	}
}
