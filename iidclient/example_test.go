package iidclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/bulksub/bulksub/iidclient"
)

func ExampleClient_BatchAdd() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"results":[{},{"error":"NOT_FOUND"}]}`)
	}))
	defer service.Close()
	dir, _ := os.MkdirTemp("", "iidclient")
	defer os.RemoveAll(dir)
	keyFile := filepath.Join(dir, "server-key")
	os.WriteFile(keyFile, []byte("test-key\n"), 0o600)

	credential, err := iidclient.ServerKeyFile(keyFile)
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := iidclient.New(iidclient.Config{Endpoint: service.URL, Credential: credential})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	codes, err := client.BatchAdd(context.Background(), "news", []string{"token-1", "token-2"})
	var refused *iidclient.StatusError
	if errors.As(err, &refused) {
		fmt.Println("the call was refused, the tokens were not judged:", refused.Status)
	}
	for i, code := range codes {
		fmt.Printf("%d %q\n", i, code)
	}
	// Output:
	// 0 ""
	// 1 "NOT_FOUND"
}
