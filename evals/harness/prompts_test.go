package harness

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/gojet/gojet/evals/suite"
)

type row = map[string]any

func list(words ...any) []any { return words }

// What the model is asked about a document of each data set, by the tasks' definitions; dev/evals/compare.py holds the same
// templates to lm-evaluation-harness.
func TestPrompts(t *testing.T) {
	root := data(t, map[string][]row{
		"allenai/ai2_arc/ARC-Easy/test":                  {{"question": "Why?", "choices": row{"text": list("up", "down"), "label": list("1", "2")}, "answerKey": "2"}},
		"baber/piqa/data/validation":                     {{"goal": "Boil water", "sol1": "heat it", "sol2": "cool it", "label": 0}},
		"Rowan/hellaswag/data/validation":                {{"activity_label": "Cooking", "ctx_a": "A man  stirs.", "ctx_b": "the SOUP", "endings": list("boils. [title] Then  x", "[step] falls ", "a", "b"), "label": "1"}},
		"allenai/winogrande/winogrande_xl/validation":    {{"sentence": "Ann thanked Bea because _ helped.", "option1": "Ann", "option2": "Bea", "answer": "2"}},
		"lighteval/siqa/data/validation":                 {{"context": "Jo fell.", "question": "What next?", "answerA": "cry", "answerB": "fly", "answerC": "try", "label": "3"}},
		"allenai/openbookqa/main/test":                   {{"question_stem": "Ice is", "choices": row{"text": list("hot", "cold"), "label": list("A", "B")}, "answerKey": " B"}},
		"aps/super_glue/boolq/validation":                {{"passage": "Cats purr.", "question": "do cats purr", "label": 1}},
		"regisss/math_qa/data/test":                      {{"Problem": "1 + 1 ?", "options": "a ) 2 , b ) 3 , 000 , c ) 4 , d ) 5 , e ) none of these", "correct": "a"}},
		"EleutherAI/lambada_openai/data/lambada_test_en": {{"text": "she said the word"}},
		"cais/mmlu/anatomy/test":                         {{"question": " Which? ", "choices": list("w", "x", "y", "z"), "answer": 3}},
		"cais/mmlu/anatomy/dev": {
			{"question": "First?", "choices": list("a", "b", "c", "d"), "answer": 1},
			{"question": "Second?", "choices": list("e", "f", "g", "h"), "answer": 0}},
		"openai/gsm8k/main/test":  {{"question": "How many?", "answer": "#### 3"}},
		"openai/gsm8k/main/train": {{"question": "One?", "answer": "So 1.\n#### 1"}},
		"Idavidrein/gpqa/gpqa_main/train": {
			{"Question": "Q1", "Correct Answer": "d ", "Incorrect Answer 1": "a", "Incorrect Answer 2": "b", "Incorrect Answer 3": "c"},
			{"Question": "Q2", "Correct Answer": "d", "Incorrect Answer 1": "a", "Incorrect Answer 2": "b", "Incorrect Answer 3": "c"}},
		"EleutherAI/wikitext_document_level/wikitext-2-raw-v1/test": {{"page": " = A = \n 5 @,@ 000 ( x ) \" q \" 's . \n"}},
	})
	mmlu := "The following are multiple choice questions (with answers) about anatomy.\n\n" +
		"First?\nA. a\nB. b\nC. c\nD. d\nAnswer: B\n\nSecond?\nA. e\nB. f\nC. g\nD. h\nAnswer: A\n\nWhich?\nA. w\nB. x\nC. y\nD. z\nAnswer:"
	for _, tc := range []struct {
		task  string
		shots int
		doc   int
		want  [][2]string // contexts and continuations
		gold  int
	}{
		{"arc_easy", 0, 0, [][2]string{{"Question: Why?\nAnswer:", " up"}, {"Question: Why?\nAnswer:", " down"}}, 1},
		{"piqa", 0, 0, [][2]string{{"Question: Boil water\nAnswer:", " heat it"}, {"Question: Boil water\nAnswer:", " cool it"}}, 0},
		{"hellaswag", 0, 0, [][2]string{{"Cooking: A man stirs. The soup", " boils.. Then x"}, {"Cooking: A man stirs. The soup", "  falls"},
			{"Cooking: A man stirs. The soup", " a"}, {"Cooking: A man stirs. The soup", " b"}}, 1},
		{"winogrande", 0, 0, [][2]string{{"Ann thanked Bea because Ann", " helped."}, {"Ann thanked Bea because Bea", " helped."}}, 1},
		{"social_iqa", 0, 0, [][2]string{{"Q: Jo fell. What next?\nA:", " cry"}, {"Q: Jo fell. What next?\nA:", " fly"}, {"Q: Jo fell. What next?\nA:", " try"}}, 2},
		{"openbookqa", 0, 0, [][2]string{{"Ice is", " hot"}, {"Ice is", " cold"}}, 1},
		{"boolq", 0, 0, [][2]string{{"Cats purr.\nQuestion: do cats purr?\nAnswer:", " no"}, {"Cats purr.\nQuestion: do cats purr?\nAnswer:", " yes"}}, 1},
		{"mathqa", 0, 0, [][2]string{{"Question: 1 + 1 ?\nAnswer:", " 2"}, {"Question: 1 + 1 ?\nAnswer:", " 3"}, {"Question: 1 + 1 ?\nAnswer:", " 4"},
			{"Question: 1 + 1 ?\nAnswer:", " 5"}, {"Question: 1 + 1 ?\nAnswer:", " none of these"}}, 0},
		{"lambada_openai", 0, 0, [][2]string{{"she said the", " word"}}, 0},
		{"mmlu_anatomy", 2, 0, [][2]string{{mmlu, " A"}, {mmlu, " B"}, {mmlu, " C"}, {mmlu, " D"}}, 3},
		{"gsm8k", 1, 0, [][2]string{{"Question: One?\nAnswer: So 1.\n#### 1\n\nQuestion: How many?\nAnswer:", ""}}, 0},
		// random.Random(42).shuffle of a b c d gives c b d a, and then d c a b.
		{"gpqa_main_zeroshot", 0, 1, [][2]string{
			{"What is the correct answer to this question:Q2\nChoices:\n(A) d\n(B) c\n(C) a\n(D) b\nAnswer:", " (A)"},
			{"What is the correct answer to this question:Q2\nChoices:\n(A) d\n(B) c\n(C) a\n(D) b\nAnswer:", " (B)"},
			{"What is the correct answer to this question:Q2\nChoices:\n(A) d\n(B) c\n(C) a\n(D) b\nAnswer:", " (C)"},
			{"What is the correct answer to this question:Q2\nChoices:\n(A) d\n(B) c\n(C) a\n(D) b\nAnswer:", " (D)"}}, 0},
	} {
		it := documentOf(t, root, tc.task, tc.shots, tc.doc)
		var got [][2]string
		for _, r := range it.scored {
			got = append(got, [2]string{r.Context, r.Continuation})
		}
		for _, p := range it.prompted {
			got = append(got, [2]string{p.Prompt, ""})
		}
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", tc.task, got, tc.want)
		}
		if tc.gold > 0 && it.question.Gold[0] != tc.gold {
			t.Errorf("%s: choice %d is right, want %d", tc.task, it.question.Gold[0], tc.gold)
		}
	}
	it := documentOf(t, root, "wikitext", 0, 0)
	if want := " = A =\n5,000 (x) \"q\"'s.\n"; it.question.Targets[0] != want {
		t.Errorf("wikitext: %q, want %q", it.question.Targets[0], want)
	}
}

func documentOf(t *testing.T, root, task string, shots, doc int) *item {
	t.Helper()
	c := config(root)
	if shots > 0 {
		c.NumFewshot = shots
	}
	s, err := suite.Open()
	if err != nil {
		t.Fatal(err)
	}
	m := &toy{most: 4096}
	j, err := newJob(context.Background(), s.Task(task), c, m)
	if err != nil {
		t.Fatal(err)
	}
	items, _, err := j.items(context.Background(), m)
	if err != nil {
		t.Fatalf("%s: %v", task, err)
	}
	return items[doc]
}

// An example is never the question itself where both may come from one split, also if that stands there twice.
func TestExamples(t *testing.T) {
	rows := []row{}
	for _, q := range strings.Fields("a b c d e e") {
		rows = append(rows, row{"goal": q, "sol1": "1", "sol2": "2", "label": 0})
	}
	root := data(t, map[string][]row{"baber/piqa/data/validation": rows, "baber/piqa/data/train": rows})
	for doc := range rows {
		it := documentOf(t, root, "piqa", 4, doc)
		if q := rows[doc]["goal"].(string); strings.Count(it.context, "Question: "+q+"\n") != 1 || strings.Count(it.context, "Question:") != 5 {
			t.Errorf("document %d: %q", doc, it.context)
		}
	}
	c := config(root)
	c.NumFewshot = 6
	s, err := suite.Open()
	if err != nil {
		t.Fatal(err)
	}
	m := &toy{most: 4096}
	h := &Harness{Config: c, Model: m, Encoder: m, Watcher: &watch{}}
	if _, err := h.Run(context.Background(), selection(t, s, "piqa")); err == nil || !strings.Contains(err.Error(), "num_fewshot is 6, but there are 6 documents") {
		t.Errorf("error %v, want too few examples", err)
	}
}

func TestMissingData(t *testing.T) {
	root := data(t, map[string][]row{"cais/mmlu/anatomy/test": {{"question": "q", "choices": list("a", "b", "c", "d"), "answer": 3}}})
	s, err := suite.Open()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		tasks []string
		shots int
		want  []string
	}{
		{[]string{"mmlu_anatomy", "piqa"}, -1, []string{"task piqa", "baber/piqa", "split validation", root}},
		{[]string{"mmlu_anatomy"}, 5, []string{"task mmlu_anatomy", "examples (num_fewshot 5)", "configuration anatomy, split dev", "anatomy/dev-*.parquet"}},
		{[]string{"mmlu_anatomy", "mmlu_astronomy"}, -1, []string{"configuration astronomy, split test"}},
		{[]string{"needle"}, -1, []string{"the model reads 100 tokens"}},
		{[]string{"humaneval_plus"}, -1, []string{"--allow-code-execution"}},
	} {
		if tc.tasks[0] == "humaneval_plus" && s.Task("humaneval_plus") == nil {
			continue
		}
		c := config(root)
		c.NumFewshot = tc.shots
		m := &toy{most: 100}
		h := &Harness{Config: c, Model: m, Encoder: m, Watcher: &watch{}}
		_, err := h.Run(context.Background(), selection(t, s, tc.tasks...))
		for _, part := range tc.want {
			if err == nil || !strings.Contains(err.Error(), part) || m.asked > 0 {
				t.Errorf("%v: error %v after %d requests, want %q before any", tc.tasks, err, m.asked, part)
			}
		}
	}
}
