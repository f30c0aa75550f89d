package chat

import (
	"reflect"
	"strings"
	"testing"
)

// What Python's Jinja gives for the same templates, in strict mode; lists and numbers are values, not their spelling.
func TestText(t *testing.T) {
	doc := map[string]any{
		"question": "  Why? ", "answerKey": "C", "answer": 2, "flag": true, "none": nil, "ratio": 0.5,
		"choices": map[string]any{"text": []any{"a", "b", "c d"}, "label": []any{"A", "B", "C"}},
		"text":    "the last word", "sentence": "Ada gave _ a bow.", "option1": "Bo", "digits": "007",
		"long": "über _ x",
	}
	for _, tc := range []struct {
		source string
		want   any
	}{
		{"Question: {{question.strip()}}\nAnswer:", "Question: Why?\nAnswer:"},
		{"{{choices.label.index(answerKey)}}", 2},
		{"{{ choices['text'] }}", []any{"a", "b", "c d"}},
		{"{{[option1, text]}}", []any{"Bo", "the last word"}},
		{"{{answer}}", 2},
		{"{{digits}}", "007"},
		{"{{answer - 1}}", 1},
		{"{{ ('3'|int) - 1 }}", 2},
		{"{{text.split(' ')[:-1]|join(' ')}}", "the last"},
		{"{{' '+text.split(' ')[-1]}}", " word"},
		{"{{sentence[sentence.index('_')+1:].strip()}}", "a bow."},
		{"{{[sentence[:sentence.index('_')] + option1]}}", []any{"Ada gave Bo"}},
		{"{{long[long.index('_')+1:]}}", " x"},
		{"{{['a','b','c'].index('b')}}", 1},
		{"{{['no', 'yes'][flag|int]}}", "yes"},
		{"{{ ' a  b c '.split() }}", []any{"a", "b", "c"}},
		{"{{ ' a  b c '.split(None, 1) }}", []any{"a", "b c "}},
		{"{{ 'a,b,c'.split(',', 1) }}", []any{"a", "b,c"}},
		{"{{ ' xax '.strip().strip('x') }}", "a"},
		{"{{ ' \ta '.lstrip() ~ '|' ~ ' a\u00a0'.rstrip() ~ '|' ~ 'xyax'.lstrip('yx') }}", "a | a|ax"},
		{"{{ 'aaa'.replace('a', 'b', 2) }}", "bba"},
		{"{{ 'x' if flag }}", "x"},
		{"{{ 'ABCD'[answer] if answerKey|string in '1234' else answerKey }}", "C"},
		{"{{ question if few_shot is undefined else 'x' }}", "  Why? "},
		{"{% if choices.text|length > 2 %}\nC. {{choices.text[2]}}{% endif %}", "\nC. c d"},
		{"{% for c in choices.text %}{{ 'ABC'[loop.index0] }}. {{ c }}\n{% endfor %}", "A. a\nB. b\nC. c d\n"},
		{"{{ question ~ ': ' ~ answer }}", "  Why? : 2"},
		{"a {{flag}} {{ratio}} {{answer}}\n", "a True 0.5 2\n"},
		{"{{ question.replace('  ', '-').upper() }}", "-WHY? "},
		{"{{ 'aBC dEF'.capitalize() }}", "Abc def"},
		{"{{ text == 'the last word' and answer > 1 }}", true},
		{"{{none}}", nil},
		{"{{ choices.text | map('upper') | list }}", []any{"A", "B", "C D"}},
		{"{{ text | twice(3) }}", "the last wordthe last wordthe last word"},
		{"{{ second(choices.label) }}", "B"},
		{`{{ 'a\[b\\[\d' }}`, `a\[b\[\d`},
		{`{{ '\'' ~ "\"" ~ '"' ~ '\n' }}\[{% set x = '\s' %}{{ x }}`, "'\"\"\n\\[\\s"},
		{"plain", "plain"},
		{"", ""},
		{"{# nothing #}", ""},
		{"{{ 'x' }}{{ 'y' }}", "xy"},
	} {
		text, err := NewText(tc.source, TextFilters{"twice": func(in any, args []any) (any, error) {
			return strings.Repeat(in.(string), args[0].(int)), nil
		}})
		if err != nil {
			t.Errorf("%q: %v", tc.source, err)
			continue
		}
		got, err := text.Value(doc, map[string]Function{"second": func(args []any) (any, error) { return args[0].([]any)[1], nil }})
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%q: got %#v, %v, want %#v", tc.source, got, err, tc.want)
		}
	}
}

func TestTextErrors(t *testing.T) {
	doc := map[string]any{"choices": map[string]any{"label": []any{"A"}}, "answer": "B"}
	for source, want := range map[string]string{
		"{{ missing }}":                     `"missing" is undefined`,
		"a {{ choices.none }}":              `"none", which is undefined`,
		"{{ choices.label.index(answer) }}": `"B" is not in the list`,
		"{{ answer.index('x') }}":           `"x" is not in "B"`,
		"{{ 1 + }}":                         "",
		"{% for i in range(10) %}":          "",
		"{{ raise_exception('no') }}":       "no",
	} {
		text, err := NewText(source, nil)
		if err == nil {
			_, err = text.Value(doc, nil)
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want one line with %q", source, err, want)
		}
	}
}
