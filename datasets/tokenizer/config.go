package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
)

// Config is what gojet takes from the files beside tokenizer.json. A token that is not set is "".
type Config struct {
	BOS, EOS, PAD string
	// ChatTemplate is the Jinja template as it was written, "" when there is none.
	ChatTemplate string
	// ModelMaxLength is the most tokens the model takes, 0 when the file does not say.
	ModelMaxLength int
}

// LoadConfig reads tokenizer_config.json from a directory, or the file itself. Files of other names in the same
// directory fill in what it leaves out: special_tokens_map.json the tokens, chat_template.jinja the template.
// Settings other than Config's are ignored, and so is a missing file.
func LoadConfig(path string) (*Config, error) {
	at, text, err := readFile(path, "tokenizer_config.json")
	if errors.Is(err, fs.ErrNotExist) {
		text, err = "{}", nil
	}
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", at, err)
	}
	return c, c.fill(filepath.Dir(at))
}

// fill takes what is missing from the other files in dir.
func (c *Config) fill(dir string) error {
	at, text, err := readFile(filepath.Join(dir, "special_tokens_map.json"), "")
	if err == nil {
		more, err := parseConfig(text)
		if err != nil {
			return fmt.Errorf("tokenizer: %s: %w", at, err)
		}
		for mine, other := range map[*string]string{&c.BOS: more.BOS, &c.EOS: more.EOS, &c.PAD: more.PAD} {
			if *mine == "" {
				*mine = other
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if c.ChatTemplate != "" {
		return nil
	}
	_, c.ChatTemplate, err = readFile(filepath.Join(dir, "chat_template.jinja"), "")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func parseConfig(text string) (*Config, error) {
	var file struct {
		BOS      token    `json:"bos_token"`
		EOS      token    `json:"eos_token"`
		PAD      token    `json:"pad_token"`
		Template template `json:"chat_template"`
		Length   *float64 `json:"model_max_length"`
	}
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		return nil, err
	}
	c := &Config{BOS: string(file.BOS), EOS: string(file.EOS), PAD: string(file.PAD), ChatTemplate: string(file.Template)}
	// Where transformers knows no limit it writes 10³⁰.
	if n := file.Length; n != nil && *n < math.MaxInt32 {
		if *n < 1 || *n != math.Trunc(*n) {
			return nil, fmt.Errorf("model_max_length is %v, want a whole number of tokens", *n)
		}
		c.ModelMaxLength = int(*n)
	}
	return c, nil
}

// token is written as its text, or as an object with the text in "content".
type token string

func (t *token) UnmarshalJSON(data []byte) error {
	var object struct{ Content *string }
	if len(data) > 0 && data[0] == '{' {
		err := json.Unmarshal(data, &object)
		if err == nil && object.Content == nil {
			err = fmt.Errorf("token %s has no content", clip(string(data)))
		}
		if err == nil {
			*t = token(*object.Content)
		}
		return err
	}
	return json.Unmarshal(data, (*string)(t))
}

// template is written as its text, or as a list of named ones, of which "default" is taken.
type template string

func (t *template) UnmarshalJSON(data []byte) error {
	if len(data) == 0 || data[0] != '[' {
		return json.Unmarshal(data, (*string)(t))
	}
	var list []struct{ Name, Template string }
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	for _, named := range list {
		if named.Name == "default" {
			*t = template(named.Template)
			return nil
		}
	}
	return fmt.Errorf("chat_template has %d templates, none named \"default\"", len(list))
}
