package checkpoints

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gojet/gojet/checkpoints/internal/strictjson"
	"github.com/gojet/gojet/checkpoints/safetensors"
)

const (
	modelName = "model.safetensors"
	indexName = "model.safetensors.index.json"
	shardGlob = "model-*-of-*.safetensors"

	maxIndex = 256 << 20 // bytes
)

// index says which file holds which tensor.
type index struct {
	shard     map[string]string // by tensor
	totalSize int64             // bytes of all tensors, -1 where the index does not say
}

// parseIndex reads the text of an index file.
func parseIndex(data []byte) (*index, error) {
	s, err := strictjson.New(data)
	if err != nil {
		return nil, err
	}
	x := &index{totalSize: -1}
	seen := strictjson.Keys{}
	err = s.Object(func(key []byte) error {
		if err := seen.Add(s, key); err != nil {
			return err
		}
		switch string(key) {
		case "weight_map":
			return x.readWeightMap(s)
		case "metadata":
			return x.readMetadata(s)
		}
		return s.Skip()
	})
	if err == nil {
		err = s.End()
	}
	if err == nil && len(x.shard) == 0 {
		err = fmt.Errorf("weight_map is missing or empty, want the file of every tensor")
	}
	return x, err
}

func (x *index) readWeightMap(s *strictjson.Scanner) error {
	x.shard = map[string]string{}
	known := map[string]string{} // one string for each file
	var buf []byte
	return s.Object(func(key []byte) error {
		name := string(key)
		if _, twice := x.shard[name]; twice {
			return s.Errorf("tensor %q comes twice", name)
		}
		var err error
		if buf, err = s.String(buf[:0]); err != nil {
			return fmt.Errorf("weight_map: tensor %q: %w", name, err)
		}
		shard, ok := known[string(buf)]
		if !ok {
			shard = string(buf)
			known[shard] = shard
			if shard == "" || shard == "." || shard == ".." || strings.ContainsAny(shard, "/\\\x00") {
				return fmt.Errorf("weight_map: tensor %q is in file %q, want the plain name of a file beside the index", name, shard)
			}
		}
		x.shard[name] = shard
		return nil
	})
}

func (x *index) readMetadata(s *strictjson.Scanner) error {
	seen := strictjson.Keys{}
	return s.Object(func(key []byte) error {
		if err := seen.Add(s, key); err != nil {
			return err
		}
		raw, err := s.Raw()
		if err != nil || string(key) != "total_size" {
			return err
		}
		// Some libraries have written it as a float.
		v, err := strconv.ParseFloat(string(raw), 64)
		if err != nil || v < 0 || v != float64(int64(v)) {
			return fmt.Errorf("metadata.total_size is %.40q, want a whole number of bytes", raw)
		}
		if x.totalSize, err = strconv.ParseInt(string(raw), 10, 64); err != nil {
			x.totalSize = int64(v)
		}
		return nil
	})
}

// shards lists the files, each once, in order of their names.
func (x *index) shards() []string {
	set := map[string]bool{}
	for _, shard := range x.shard {
		set[shard] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// check holds the index to what the files have.
func (x *index) check(files map[string]*safetensors.File) error {
	holder := map[string]string{}
	total := int64(0)
	for _, shard := range x.shards() {
		for _, name := range files[shard].Names() {
			if other, twice := holder[name]; twice {
				return fmt.Errorf("tensor %q is in two files, %s and %s, want it in %s only", name, other, shard, x.shard[name])
			}
			holder[name] = shard
			tensor, _ := files[shard].Tensor(name)
			total += int64(len(tensor.Data))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(x.shard)) {
		switch at, ok := holder[name]; {
		case !ok:
			return fmt.Errorf("tensor %q is not in %s, where the index puts it, nor in another file", name, x.shard[name])
		case at != x.shard[name]:
			return fmt.Errorf("tensor %q is in %s, want it in %s, where the index puts it", name, at, x.shard[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(holder)) {
		if _, ok := x.shard[name]; !ok {
			return fmt.Errorf("tensor %q is in %s, but the index does not name it", name, holder[name])
		}
	}
	if x.totalSize >= 0 && x.totalSize != total {
		return fmt.Errorf("metadata.total_size is %d, want %d, the bytes of all tensors", x.totalSize, total)
	}
	return nil
}
