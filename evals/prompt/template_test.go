package prompt

import (
	"reflect"
	"testing"
)

func TestRegexFilters(t *testing.T) {
	doc := map[string]any{
		"options": "a ) 38 , b ) 27.675 , c ) 30 , d ) data inadequate , e ) none of these",
		"endings": []any{" [header] x  y [title] z", "plain"},
		"page":    " = A = \n ( x ) [ y ] { z } \" q \" ' r ' a 's 3 @,@ 000 \n",
		"a name":  "v", "n": 3, "f": 2.0,
	}
	for source, want := range map[string]any{
		`{{ options | regex_findall('[abcd] \\) .*?, |e \\) .*?$') | map('regex_replace', '\\A.{4}', '') | map('regex_replace', '[ ,]+\\Z', '') | list }}`: []any{"38", "27.675", "30", "data inadequate", "none of these"},
		`{{ endings | map('trim') | map('replace', ' [title]', '. ') | map('regex_replace', '\\[.*?\\]', '') | map('replace', '  ', ' ') | list }}`:        []any{" x y. z", "plain"},
		`{{ page | regex_replace("\\(\\s*([^\\)]*?)\\s*\\)", "(\\1)") | regex_replace('"\\s*([^"]*?)\\s*"', '"\\g<1>"') | replace("\n ", "\n") }}`:         " = A = \n(x) [ y ] { z } \"q\" ' r ' a 's 3 @,@ 000 \n",
		`{{ 'a1b22' | regex_split('[0-9]+') }}`:           []any{"a", "b", ""},
		`{{ 'k=v, x=y' | regex_findall('(\\w)=(\\w)') }}`: []any{[]any{"k", "v"}, []any{"x", "y"}},
		`{{ doc['a name'] }}`:                             "v",
		`a name`:                                          "v",
		`{{ n }} {{ f }}`:                                 "3 2.0",
	} {
		tp, err := New("doc_to_text", source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got, err := tp.Value(doc); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %q, %v\nwant %q", source, got, err, want)
		}
	}
}
