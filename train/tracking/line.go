package tracking

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

// A line of metrics.jsonl is one JSON object: "step", "stage" if there is one, then the metrics in the order they
// were given. JSON has no numbers for those that are not finite: they are the strings "NaN", "Infinity", "-Infinity".

// Number is a float64 in that JSON form.
type Number float64

func (n Number) MarshalJSON() ([]byte, error) { return appendNumber(nil, float64(n)), nil }

func (n *Number) UnmarshalJSON(data []byte) error {
	v, err := parseNumber(data)
	*n = Number(v)
	return err
}

func appendNumber(b []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(b, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(b, `"-Infinity"`...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

func parseNumber(data []byte) (float64, error) {
	switch string(data) {
	case `"NaN"`:
		return math.NaN(), nil
	case `"Infinity"`:
		return math.Inf(1), nil
	case `"-Infinity"`:
		return math.Inf(-1), nil
	}
	var v *float64
	if err := json.Unmarshal(data, &v); err != nil || v == nil {
		return 0, fmt.Errorf("%.40s is no number", data)
	}
	return *v, nil
}

// appendRow appends the row's line with its newline.
func appendRow(b []byte, r Row) []byte {
	b = append(b, `{"step":`...)
	b = strconv.AppendInt(b, int64(r.Step), 10)
	if r.Stage != "" {
		b = appendQuoted(appendKey(b, stageKey), r.Stage)
	}
	for _, m := range r.Metrics {
		b = appendNumber(appendKey(b, m.Name), m.Value)
	}
	return append(b, "}\n"...)
}

func appendKey(b []byte, key string) []byte {
	return append(appendQuoted(append(b, ','), key), ':')
}

// appendQuoted appends s in JSON, invalid UTF-8 replaced.
func appendQuoted(b []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		plain = plain && s[i] >= ' ' && s[i] < 0x7f && s[i] != '"' && s[i] != '\\'
	}
	if plain { // as names are: no allocations at every step
		return append(append(append(b, '"'), s...), '"')
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // a string always has a JSON form
	}
	return append(b, bytes.TrimSuffix(text.Bytes(), []byte{'\n'})...)
}

// parseRow reads a line.
func parseRow(line []byte) (Row, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return Row{}, errors.New("want a JSON object")
	}
	r := Row{Step: -1}
	stage := false
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return Row{}, err
		}
		key := t.(string) // the decoder accepts no other keys
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return Row{}, fmt.Errorf("%.40q: %w", key, err)
		}
		switch key {
		case stepKey:
			step, err := strconv.Atoi(string(value))
			if r.Step >= 0 || err != nil || step < 0 {
				return Row{}, fmt.Errorf("\"step\" is %.40s, want one whole number, 0 or more", value)
			}
			r.Step = step
		case stageKey:
			if stage || json.Unmarshal(value, &r.Stage) != nil || value[0] != '"' {
				return Row{}, fmt.Errorf("\"stage\" is %.40s, want one string", value)
			}
			stage = true
		default:
			v, err := parseNumber(value)
			if err != nil {
				return Row{}, fmt.Errorf("%.40q: %w", key, err)
			}
			r.Metrics = append(r.Metrics, Metric{key, v})
		}
	}
	if _, err := d.Token(); err != nil {
		return Row{}, errors.New("the object does not end")
	}
	if _, err := d.Token(); err != io.EOF {
		return Row{}, errors.New("more follows after the object")
	}
	if r.Step < 0 {
		return Row{}, errors.New("\"step\" is missing")
	}
	return r, nil
}
