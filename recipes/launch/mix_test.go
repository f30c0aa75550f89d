package launch

import (
	"reflect"
	"testing"

	"github.com/gojet/gojet/datasets"
	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/evals/tasks"
	"github.com/gojet/gojet/recipes"
	"github.com/gojet/gojet/train"
)

// plainRows are rows of one document each, but for the last, which is padded.
type plainRows struct{ rows, length int }

func (p plainRows) MaxDocs() int { return datasets.MaxDocs(p.rows, p.length) }

func (p plainRows) Batch(number int) (train.Batch, error) {
	b := train.Batch{Cu: []int32{0}}
	for i := range p.rows * p.length {
		b.IDs, b.Labels = append(b.IDs, int32(200+number)), append(b.Labels, int32(i))
	}
	for r := range p.rows {
		b.Cu = append(b.Cu, int32((r+1)*p.length))
	}
	b.Cu[p.rows] -= 5
	return b, nil
}

// TestMix: the share of rows are questions, the others are as they were, and the borders of documents hold.
func TestMix(t *testing.T) {
	tok, err := tokenizer.NewBytes()
	if err != nil {
		t.Fatal(err)
	}
	m := &recipes.Mix{Share: 0.25, Tasks: []tasks.Config{{Kind: tasks.Recall}, {Kind: tasks.Arithmetic}}}
	const rows, length = 3, 128
	for _, answers := range []bool{false, true} {
		d, err := newMixed(plainRows{rows, length}, m, rows, length, 4, answers, tok)
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		for number := range 16 {
			b, err := d.Batch(number)
			if err != nil {
				t.Fatal(err)
			}
			again, err := d.Batch(number)
			if err != nil || !reflect.DeepEqual(b, again) {
				t.Fatal("the same batch twice differs", err)
			}
			if len(b.Cu)-1 > d.MaxDocs() {
				t.Fatalf("%d documents, want at most %d", len(b.Cu)-1, d.MaxDocs())
			}
			borders := map[int32]bool{}
			for i, c := range b.Cu {
				borders[c] = true
				if i > 0 && c <= b.Cu[i-1] {
					t.Fatalf("borders %v", b.Cu)
				}
			}
			for r := range rows {
				if r > 0 && !borders[int32(r*length)] {
					t.Fatalf("a document crosses row %d: %v", r, b.Cu)
				}
				if b.IDs[r*length] >= 200 {
					continue
				}
				asked++
				labels := 0
				for i := r * length; i < (r+1)*length; i++ {
					if b.Labels[i] == datasets.Ignored {
						continue
					}
					labels++
					if b.Labels[i] != b.IDs[i+1] || borders[int32(i+1)] {
						t.Fatalf("label %d is %d, %d follows", i, b.Labels[i], b.IDs[i+1])
					}
				}
				if answers != (labels < 30) || labels == 0 {
					t.Errorf("answers alone %v: %d labels in a row", answers, labels)
				}
			}
		}
		if asked != rows*16/4 {
			t.Errorf("%d rows of questions of %d", asked, rows*16)
		}
	}
}
