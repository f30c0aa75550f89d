package wandb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Keys that W&B wants in every row.
const (
	stepKey      = "_step"
	runtimeKey   = "_runtime"
	timestampKey = "_timestamp"
)

// valueJSON is the JSON of a float64 or string. W&B's own clients write numbers that are not finite bare, and read
// them so.
func valueJSON(v any) string {
	if f, ok := v.(float64); ok {
		switch {
		case math.IsNaN(f):
			return "NaN"
		case math.IsInf(f, 1):
			return "Infinity"
		case math.IsInf(f, -1):
			return "-Infinity"
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("wandb: a value of type %T, want float64 or string", v))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// object is the JSON object of a list of entries, in their order.
func object(list []entry) string {
	var b strings.Builder
	for i, e := range list {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteString(valueJSON(e.key) + ":" + e.json)
	}
	if len(list) == 0 {
		b.WriteByte('{')
	}
	return b.String() + "}"
}

// summary has the last value of each key.
type summary struct {
	at   map[string]int
	list []entry // in the order in which the keys came
}

func (s *summary) set(e entry) {
	if s.at == nil {
		s.at = map[string]int{}
	}
	i, ok := s.at[e.key]
	if !ok {
		i = len(s.list)
		s.at[e.key] = i
		s.list = append(s.list, e)
	}
	s.list[i] = e
}

// configOf returns the fields of a struct or map by name, each in JSON.
func configOf(v any) ([]entry, error) {
	if v == nil {
		return nil, nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("wandb: config: %w", err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("wandb: config is a %T, want a struct or map", v)
	}
	var list []entry
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		list = append(list, entry{key, string(fields[key])})
	}
	return list, nil
}

// configObject is the JSON that the service takes: {"key": {"value": …}, …}.
func configObject(config []entry) string {
	wrapped := make([]entry, len(config))
	for i, e := range config {
		wrapped[i] = entry{e.key, `{"value":` + e.json + "}"}
	}
	return object(wrapped)
}

// configYAML is files/config.yaml. JSON is YAML but for numbers such as 1e-05, which readers of YAML 1.1 take for
// strings where they have no point.
func configYAML(config []entry) (string, error) {
	var b strings.Builder
	for _, e := range config {
		d := json.NewDecoder(strings.NewReader(e.json))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s:\n    value: ", valueJSON(e.key))
		appendYAML(&b, v)
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// appendYAML writes a decoded JSON value in YAML's flow style.
func appendYAML(b *strings.Builder, v any) {
	switch v := v.(type) {
	case json.Number:
		b.WriteString(yamlNumber(string(v)))
	case []any:
		b.WriteByte('[')
		for i, x := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			appendYAML(b, x)
		}
		b.WriteByte(']')
	case map[string]any:
		b.WriteByte('{')
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(valueJSON(key) + ": ")
			appendYAML(b, v[key])
		}
		b.WriteByte('}')
	case string, nil, bool:
		b.WriteString(valueJSON(v))
	default:
		panic(fmt.Sprintf("wandb: JSON decoded to a %T", v))
	}
}

// yamlNumber gives a number with an exponent the point and sign that YAML 1.1 wants: 1e5 is 1.0e+5.
func yamlNumber(s string) string {
	at := strings.IndexAny(s, "eE")
	if at < 0 {
		return s
	}
	mantissa, exponent := s[:at], s[at+1:]
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	if n, err := strconv.Atoi(exponent); err == nil {
		exponent = fmt.Sprintf("%+d", n)
	}
	return mantissa + "e" + exponent
}
