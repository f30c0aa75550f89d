package run

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gojet/gojet/checkpoints/internal/commit"
)

const maxText = 64 << 20 // bytes of manifest.json or state.json, far above any

// manifest is manifest.json: what a checkpoint consists of.
type manifest struct {
	Version int            `json:"format_version"`
	Step    int            `json:"step"`
	Files   map[string]sum `json:"files"` // by path with slashes
}

type sum struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

var errNoManifest = errors.New(manifestName + " is missing, want the size and SHA-256 of every file")

func readManifest(on commit.FS, dir string) (*manifest, error) {
	text, err := readSmall(on, filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoManifest
	}
	var m *manifest
	if err == nil {
		m, err = parseManifest(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", manifestName, err)
	}
	return m, nil
}

func readSmall(on commit.FS, name string) ([]byte, error) {
	info, err := on.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is no regular file")
	}
	f, err := on.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(text) > maxText {
		err = fmt.Errorf("more than %d bytes", maxText)
	}
	return text, err
}

func parseManifest(text []byte) (*manifest, error) {
	m := &manifest{}
	if err := parseVersioned(text, m, "step", "files"); err != nil {
		return nil, err
	}
	for _, name := range m.names() {
		f := m.Files[name]
		raw, err := hex.DecodeString(f.SHA256)
		switch {
		case !fs.ValidPath(name) || name == "." || name == manifestName || strings.ContainsAny(name, `\:`):
			return nil, fmt.Errorf("files: %q is not the path of another file in the folder", name)
		case f.Size < 0:
			return nil, fmt.Errorf("files: %s has size %d, want at least 0", name, f.Size)
		case err != nil || len(raw) != 32 || strings.ToLower(f.SHA256) != f.SHA256:
			return nil, fmt.Errorf("files: %s has sha256 %.80q, want 64 hexadecimal digits", name, f.SHA256)
		}
	}
	for _, name := range []string{configName, stateName, optimizerName} {
		if _, there := m.Files[name]; !there {
			return nil, fmt.Errorf("files: %s is missing", name)
		}
	}
	return m, nil
}

func (m *manifest) names() []string { return slices.Sorted(maps.Keys(m.Files)) }

// checkFiles holds the manifest to the folder of that step: the files are there in their sizes, and none
// that would be read but is not listed.
func (m *manifest) checkFiles(on commit.FS, dir string, step int) error {
	if m.Step != step {
		return fmt.Errorf("%s is of step %d, but the folder of step %d", manifestName, m.Step, step)
	}
	found := map[string]bool{}
	if err := m.checkFolder(on, dir, "", found); err != nil {
		return err
	}
	for _, name := range m.names() {
		if !found[name] {
			return fmt.Errorf("%s is missing, which the manifest lists", name)
		}
	}
	return nil
}

func (m *manifest) checkFolder(on commit.FS, dir, sub string, found map[string]bool) error {
	entries, err := on.ReadDir(filepath.Join(dir, filepath.FromSlash(sub)))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(sub, e.Name())
		want, listed := m.Files[name]
		switch {
		case name == manifestName:
		case listed:
			info, err := e.Info()
			if err != nil {
				return err
			}
			if !info.Mode().IsRegular() {
				return fmt.Errorf("%s is no regular file", name)
			}
			if info.Size() != want.Size {
				return fmt.Errorf("%s has %d bytes, want %d of the manifest", name, info.Size(), want.Size)
			}
			found[name] = true
		case e.IsDir() && m.hasFolder(name):
			if err := m.checkFolder(on, dir, name, found); err != nil {
				return err
			}
		case isRead(name):
			return fmt.Errorf("%s is not in the manifest: added later, or of another checkpoint", name)
		}
	}
	return nil
}

func (m *manifest) hasFolder(name string) bool {
	for file := range m.Files {
		if strings.HasPrefix(file, name+"/") {
			return true
		}
	}
	return false
}

// isRead tells whether training would go on otherwise for a file of that name; others, such as notes or
// a tokenizer, may be put there.
func isRead(name string) bool {
	return strings.HasSuffix(name, tensorFile) || strings.HasSuffix(name, tensorFile+".index.json") ||
		strings.HasPrefix(name, trainerDir+"/") && strings.HasSuffix(name, ".json")
}
