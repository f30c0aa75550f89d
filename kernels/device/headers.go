//go:build gpu

package device

import "embed"

//go:embed cuda/*.cuh
var headerFiles embed.FS

// headers are the files that every kernel may include.
func headers() ([]Source, error) {
	entries, err := headerFiles.ReadDir("cuda")
	if err != nil {
		return nil, err
	}
	var list []Source
	for _, e := range entries {
		text, err := headerFiles.ReadFile("cuda/" + e.Name())
		if err != nil {
			return nil, err
		}
		list = append(list, Source{File: e.Name(), Text: string(text)})
	}
	return list, nil
}
