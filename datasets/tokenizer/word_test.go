package tokenizer

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// slowWord merges word straight from the definition: find the pair of lowest rank, the leftmost of several,
// join it, start again. It works on the names of tokens.
func slowWord(ranks map[[2]string]int, a *alphabet, word string) []string {
	var parts []string
	for i := range len(word) {
		parts = append(parts, string(a.char[word[i]]))
	}
	for {
		best, lowest := -1, len(ranks)
		for i := range len(parts) - 1 {
			if rank, ok := ranks[[2]string{parts[i], parts[i+1]}]; ok && rank < lowest {
				best, lowest = i, rank
			}
		}
		if best < 0 {
			return parts
		}
		parts[best] += parts[best+1]
		parts = slices.Delete(parts, best+1, best+2)
	}
}

// tinyRanks reads the merges of the tiny tokenizer.
func tinyRanks(t *testing.T) map[[2]string]int {
	t.Helper()
	var file struct {
		Model struct{ Merges [][2]string }
	}
	if err := json.Unmarshal([]byte(tinyFile(t)), &file); err != nil {
		t.Fatal(err)
	}
	ranks := map[[2]string]int{}
	for i, pair := range file.Model.Merges {
		ranks[pair] = i
	}
	return ranks
}

func TestWordsMergeByRank(t *testing.T) {
	b, ranks, letters := tiny(t), tinyRanks(t), newAlphabet()
	e := b.encoder()
	rng := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"the", "is", "it", "again", "o", "t", "h", "e", "n", "这是一个", "词元", "слово", "\xe6", "\xff", " "}
	for range 3000 {
		var s strings.Builder
		for range 1 + rng.IntN(40) {
			s.WriteString(pieces[rng.IntN(len(pieces))])
		}
		word := s.String()
		var got []string
		for _, id := range e.merger.appendWord(nil, word) {
			got = append(got, b.names[id])
		}
		if want := slowWord(ranks, letters, word); !slices.Equal(got, want) {
			t.Fatalf("%q (%d bytes) became %q, want %q", word, len(word), got, want)
		}
	}
}

// A megabyte without a space must not take a megabyte squared.
func TestOneHugeWord(t *testing.T) {
	b := tiny(t)
	word := strings.Repeat("againthe", 1<<17)
	ids := b.Encode(word)
	if got := b.Decode(ids); got != word {
		t.Errorf("a word of %d bytes came back with %d", len(word), len(got))
	}
	if unit := b.Encode("againthe"); len(ids) > len(unit)<<17 {
		t.Errorf("%d tokens, want at most %d as for its parts", len(ids), len(unit)<<17)
	}
	e := b.encoder()
	if cap(e.merger.parts) > 1<<16 {
		t.Errorf("the encoder kept buffers for %d parts", cap(e.merger.parts))
	}
}

func TestCacheChangesNothing(t *testing.T) {
	b := tiny(t)
	rng := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		text := randomText(rng, 10)
		first := b.Encode(text)
		if again := b.Encode(text); !slices.Equal(first, again) {
			t.Fatalf("%q became %v, then %v", text, first, again)
		}
		var fresh []int32
		e := &encoder{BPE: b, merger: merger{merges: b.merges, bytes: &b.bytes}}
		for s := nfc(text); s != ""; {
			n := b.words.word(s)
			fresh, s = e.merger.appendWord(fresh, s[:n]), s[n:]
		}
		if got := b.encoder().appendWords(nil, nfc(text)); !slices.Equal(got, fresh) {
			t.Fatalf("%q: %v with the cache, %v without", text, got, fresh)
		}
	}
}

func TestManyGoroutines(t *testing.T) {
	b := tiny(t)
	text := strings.Repeat("This is the text that <tool> and größer 这是一个词元 share. ", 20)
	want := b.Encode(text)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if got := b.Encode(text); !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestIgnoreMerges(t *testing.T) {
	// Without merges " is" falls into bytes, unless words that are tokens stay whole.
	bare := func(file map[string]any) { at(file, "model")["merges"] = []any{} }
	whole := func(file map[string]any) { at(file, "model")["ignore_merges"] = true }
	id, _ := tiny(t).ID("Ġis")
	if got := tiny(t, bare).Encode(" is"); len(got) != 3 {
		t.Errorf("without merges: %v, want three bytes", got)
	}
	if got := tiny(t, bare, whole).Encode(" is"); !slices.Equal(got, []int32{id}) {
		t.Errorf("without merges, with ignore_merges: %v, want %d", got, id)
	}
}
