package tasks

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gojet/gojet/datasets/tokenizer"
)

func materials(t testing.TB) Materials {
	t.Helper()
	tok, err := tokenizer.NewBytes()
	if err != nil {
		t.Fatal(err)
	}
	return Materials{Tokenizer: tok, Text: func(i uint64, n int) []int32 {
		text := make([]int32, n)
		for k := range text {
			text[k] = int32((i + uint64(k)) % 97)
		}
		return text
	}}
}

func open(t testing.TB, c Config) *Set {
	t.Helper()
	s, err := Open(c, materials(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestItems: every kind gives the same item for the same seed and number, and another for another.
func TestItems(t *testing.T) {
	for _, kind := range Kinds() {
		if kind == File {
			continue
		}
		s := open(t, Config{Kind: kind})
		if a, b := s.Item(1, 5), s.Item(1, 5); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: the same item twice differs", kind)
		}
		if reflect.DeepEqual(s.Item(1, 5), s.Item(1, 6)) || reflect.DeepEqual(s.Item(1, 5), s.Item(2, 5)) {
			t.Errorf("%s: different items are alike", kind)
		}
	}
}

// TestAnswers solves the generated questions by reading them.
func TestAnswers(t *testing.T) {
	m := materials(t)
	text := func(ids []int32) string { return m.Tokenizer.Decode(ids) }
	for i := range 50 {
		it := open(t, Config{Kind: Recall, Pairs: 6, Queries: 3, Width: 2}).Item(7, i)
		pairs, _, _ := strings.Cut(text(it.Turns[0].Context), "?")
		for _, turn := range it.Turns {
			key := text(turn.Context)
			key = key[len(key)-3:]
			if at := strings.Index(pairs, key); at < 0 || !strings.HasPrefix(pairs[at+3:], text(turn.Right())) {
				t.Fatalf("recall: %q then %q is not in %q", key, text(turn.Right()), pairs)
			}
		}
		turn := open(t, Config{Kind: Needle, Length: 300}).Item(7, i).Turns[0]
		context := text(turn.Context)
		ask := context[strings.LastIndex(context, "The code"):]
		if !strings.Contains(context, ask+text(turn.Right())) || len(turn.Context) < 300 || len(turn.Context) > 400 {
			t.Fatalf("needle: no %q in %d tokens", ask, len(turn.Context))
		}
		turn = open(t, Config{Kind: Lookup}).Item(7, i).Turns[0]
		head, key, _ := strings.Cut(text(turn.Context), "\n")
		if !strings.Contains(head, key+text(turn.Right())) {
			t.Fatalf("lookup: no %q in %q", key, head)
		}
		turn = open(t, Config{Kind: Arithmetic, Steps: 4}).Item(7, i).Turns[0]
		if got := solve(text(turn.Context)); got != text(turn.Right()) {
			t.Fatalf("arithmetic: %q gives %s, the answer is %s", text(turn.Context), got, text(turn.Right()))
		}
	}
}

func solve(text string) string {
	value := map[byte]int{}
	for _, part := range strings.Fields(strings.TrimPrefix(text, "mod 10: ")) {
		if strings.HasSuffix(part, "=") {
			return string(rune('0' + value[part[0]]))
		}
		x := 0
		if part[2] >= '0' && part[2] <= '9' {
			x = int(part[2] - '0')
		} else {
			y := int(part[4] - '0')
			if part[3] == '-' {
				y = -y
			}
			x = (value[part[2]] + y + 10) % 10
		}
		value[part[0]] = x
	}
	return ""
}

// TestPack: predictions are asked for at the token before each one of every answer, within the limits.
func TestPack(t *testing.T) {
	var items []Item
	for i := range 20 {
		items = append(items, open(t, Config{Kind: Recall}).Item(3, i), open(t, Config{Kind: Continuation, Length: 16, Choices: 3}).Item(3, i))
	}
	l := Limits{Tokens: 128, Documents: 3, Places: 12}
	batches, err := Pack(items, l)
	if err != nil {
		t.Fatal(err)
	}
	tally, asked := NewTally(items), 0
	for _, b := range batches {
		if len(b.IDs) > l.Tokens || len(b.Cu)-1 > l.Documents || len(b.Places) > l.Places || int(b.Cu[len(b.Cu)-1]) != len(b.IDs) {
			t.Fatalf("batch of %d tokens, %d documents, %d places", len(b.IDs), len(b.Cu)-1, len(b.Places))
		}
		at := make([]Prediction, len(b.Places))
		for i, p := range b.Places {
			if b.IDs[p.At+1] != p.Want || i > 0 && b.Places[i-1].At >= p.At {
				t.Fatalf("place %d: %v follows %v", i, b.IDs[p.At+1], p)
			}
			at[i] = Prediction{Loss: 1, First: true}
		}
		for _, s := range b.Spans { // a model that knows
			if items[s.Item].Turns[s.Turn].Answer == s.Choice {
				for i := s.From; i < s.To; i++ {
					at[i].Loss = 0.25
				}
			}
		}
		asked += len(b.Spans)
		tally.Add(b, at)
	}
	if s := tally.Scores(); s.Accuracy != 1 || s.Loss != 0.25 || s.Questions != 20*5 || asked != 20*4+20*3 {
		t.Errorf("scores %+v of %d answers", s, asked)
	}
	if _, err := Pack(items, Limits{Tokens: 20, Documents: 3, Places: 12}); err == nil {
		t.Error("an item longer than a batch is taken")
	}
}

func TestPredict(t *testing.T) {
	p := Predict([]float32{1, 3, 2}, 1)
	if want := math.Log(math.Exp(-2)+1+math.Exp(-1)) + 0; math.Abs(p.Loss-want) > 1e-12 || !p.First {
		t.Errorf("%+v, want loss %v", p, want)
	}
	if Predict([]float32{3, 3}, 1).First || !Predict([]float32{3, 3}, 0).First {
		t.Error("of equal logits the first is the model's choice")
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "questions.jsonl")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("\xef\xbb\xbf{\"context\":\"Two and two\",\"choices\":[\" is five\",\" is four\"],\"answer\":1,\"id\":7}\r\n\n{\"context\":\"a\",\"answer\":\"b\"}\n{\"context\":\"c\",\"choices\":[\"d\",\"e\"],\"answer\":\"e\"}")
	s := open(t, Config{Kind: File, Path: path})
	if s.Most(10) != 3 || s.Item(1, 0).Turns[0].Answer != 1 || len(s.Item(1, 1).Turns[0].Choices) != 1 || s.Item(1, 2).Turns[0].Answer != 1 {
		t.Errorf("%+v", s.fixed)
	}
	for text, want := range map[string]string{
		"":                                   "is empty",
		"{\"context\":\"a\"":                 "line 1",
		"[]":                                 "want an object",
		"{\"choices\":[\"a\"],\"answer\":0}": "context is missing",
		`{"context":"a","choices":["b"],"answer":1}`:              "answer is 1",
		`{"context":"a","choices":["b"],"answer":"c"}`:            "none of the 1 choices",
		`{"context":"a","choices":["b",""],"answer":0}`:           "choice 1 is empty",
		`{"context":"a","choices":["b"],"answer":0} {}`:           "more than one object",
		"{\"context\":\"\xff\",\"choices\":[\"b\"],\"answer\":0}": "not UTF-8",
	} {
		write(text)
		if _, err := Open(Config{Kind: File, Path: path}, materials(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []Config{{}, {Kind: "riddle"}, {Kind: Recall, Length: 100}, {Kind: Recall, Pairs: 20}, {Kind: Recall, Pairs: 4, Queries: 5},
		{Kind: Needle, Length: 3}, {Kind: File}, {Kind: Recall, Path: "x"}, {Kind: Recall, Name: "a/b"}} {
		if c.Validate() == nil {
			t.Errorf("%+v is valid", c)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"context":"a","choices":["b","c"],"answer":1}`)
	tok, err := tokenizer.NewBytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		items, err := read(strings.NewReader(text), tok)
		if err == nil && len(items) == 0 {
			t.Error("no items and no error")
		}
	})
}
