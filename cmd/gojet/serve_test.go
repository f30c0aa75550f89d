package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func serveCalls(t *testing.T) []call {
	dir := saved(t, hybrid)
	broken := filepath.Join(t.TempDir(), "template")
	if err := os.WriteFile(broken, []byte("{% if %}"), 0o644); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	bytes := func(args ...string) []string { return append([]string{"serve", dir, "--tokenizer", "bytes"}, args...) }
	calls := []call{
		{name: "no model", args: []string{"serve"}, code: 1, err: "accepts 1 arg(s), received 0"},
		{name: "missing model", args: []string{"serve", "/no/such"}, code: 1, err: "/no/such"},
		{name: "no tokenizer", args: []string{"serve", dir}, code: 1, err: "holds no tokenizer.json"},
		{name: "missing template", args: bytes("--chat-template", "/no/such"), code: 1, err: "--chat-template: open /no/such"},
		{name: "broken template", args: bytes("--chat-template", broken), code: 1, err: "chat template of " + broken},
		{name: "empty template", args: bytes("--chat-template", os.DevNull), code: 1, err: "has no chat template"},
		{name: "more positions than there are", args: bytes("--max-model-len", "65"), code: 1, err: "--max-model-len is 65, but the model has 64 positions"},
		{name: "one position", args: bytes("--max-model-len", "1"), code: 1, err: "the model takes 1 tokens, want 2 or more"},
		{name: "log level", args: bytes("--log-level", "loud"), code: 1, err: `--log-level is "loud", want debug, info, warn or error`},
		{name: "no address", args: bytes("--host", "256.0.0.1", "--api-key", "x", "--log-level", "error"), code: 1, err: "256.0.0.1"},
		{name: "port in use", args: bytes("--port", port, "--log-level", "error", "--device", "cpu", "--precision", "bf16", "--threads", "1"), code: 1, err: "address already in use"},
	}
	for _, bad := range []struct{ flag, value, err string }{
		{"port", "65536", "--port is 65536, want 0 to 65535"}, {"max-num-seqs", "0", "--max-num-seqs is 0, want 1"}, {"max-queue", "-1", "--max-queue is -1"},
		{"max-model-len", "-1", "--max-model-len is -1"}, {"prefix-cache", "-1", "--prefix-cache is -1"}, {"chunk", "0", "--chunk is 0"},
		{"max-body-bytes", "0", "--max-body-bytes is 0"}, {"max-prompt-tokens", "-1", "--max-prompt-tokens is -1"}, {"max-tokens", "-1", "--max-tokens is -1"},
		{"max-n", "0", "--max-n is 0"}, {"max-stops", "-1", "--max-stops is -1"}, {"header-timeout", "0s", "--header-timeout is 0s, want a time such as 30s"},
		{"body-timeout", "-1s", "--body-timeout is -1s"}, {"request-timeout", "0s", "--request-timeout is 0s"}, {"write-timeout", "0s", "--write-timeout is 0s"},
		{"idle-timeout", "0s", "--idle-timeout is 0s"}, {"drain-timeout", "-1s", "--drain-timeout is -1s"}, {"drain-timeout", "30", "invalid argument"},
		{"served-model-name", "", "--served-model-name is empty"}, {"threads", "-1", "--threads is -1"}, {"device", "tpu", `--device is "tpu"`},
	} {
		calls = append(calls, call{name: bad.flag + " " + bad.value, args: bytes("--" + bad.flag + "=" + bad.value), code: 1, err: bad.err})
	}
	return calls
}

// TestServe runs the command as systemd would: it says when it is ready, answers like generate, and ends well when told to.
func TestServe(t *testing.T) {
	dir := saved(t, hybrid)
	socket := filepath.Join(t.TempDir(), "notify")
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv(keyVariable, "secret")
	template := filepath.Join(t.TempDir(), "template")
	if err := os.WriteFile(template, []byte("{% for m in messages %}{{ m.content }}{% endfor %}"), 0o644); err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read, write := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, newRoot(write, io.Discard), []string{"serve", dir, "--tokenizer", "bytes", "--port", "0", "--served-model-name", "m", "--chat-template", template, "--max-num-seqs", "2"})
	}()
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "serving m at ")
	if !ok {
		t.Fatalf("output %q", line)
	}
	expect(t, told, "READY=1")

	whole := strings.TrimSuffix(output(t, "generate", dir, "--tokenizer", "bytes", "Hi", "--max-tokens", "12"), "\n")
	for path, body := range map[string]string{
		"/v1/completions":      `{"prompt": "Hi", "max_tokens": 12, "temperature": 0}`,
		"/v1/chat/completions": `{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 12, "temperature": 0}`,
	} {
		r, err := http.NewRequest(http.MethodPost, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer secret")
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var said struct {
			Choices []struct {
				Text    string
				Message struct{ Content string }
			}
		}
		err = json.NewDecoder(a.Body).Decode(&said)
		a.Body.Close()
		if err != nil || a.StatusCode != 200 || said.Choices[0].Text+said.Choices[0].Message.Content != whole {
			t.Errorf("%s: status %d, %+v, %v; generate says %q", path, a.StatusCode, said, err, whole)
		}
	}
	if a, err := http.Get(url + "/v1/models"); err != nil || a.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a key: %v, %v", a, err)
	}
	http.DefaultClient.CloseIdleConnections()

	stop()
	expect(t, told, "STOPPING=1")
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(10 * time.Second):
		t.Error("the command does not end")
	}
}

// expect reads the next message to the service manager.
func expect(t *testing.T, c *net.UnixConn, want string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := c.Read(b); err != nil || string(b[:n]) != want {
		t.Errorf("systemd was told %q, %v, want %q", b[:n], err, want)
	}
}
