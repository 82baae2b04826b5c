// The crowd's SSH side: one process that is many machines, each with an address and a host key of its own.
//
//	crowd -hosts 1000 -address 127.77.0.1 -port 2222 -authorized KEY.pub -agents SOCKET
//
// It takes one public key, for any user. A command on a channel is answered by the process behind SOCKET
// (benchmarks/crowd/agents.py): it is told which machine was logged in to and how long the program is that comes
// first, and has the channel from there on. When all listen, a line a machine says "ADDRESS PORT KEYTYPE KEY".
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// What OpenSSH of Debian 12 offers, as far as khw would choose from it.
var (
	exchanges = []string{"curve25519-sha256", "curve25519-sha256@libssh.org"}
	ciphers   = []string{"aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr"}
)

func main() {
	if name := filepath.Base(os.Args[0]); name == "sh" || name == "id" {
		return // the machines' shell, and id: whatever they are asked for is so already
	}
	hosts := flag.Int("hosts", 1000, "machines")
	first := flag.String("address", "127.77.0.1", "address of the first machine; the others follow")
	port := flag.Int("port", 2222, "port of all machines")
	authorized := flag.String("authorized", "", "file with the public key that is let in")
	agents := flag.String("agents", "", "Unix socket of the agents")
	flag.Parse()
	key := allowed(*authorized)
	address := netip.MustParseAddr(*first)
	out := bufio.NewWriter(os.Stdout)
	for range *hosts {
		machine := &machine{name: address.String(), agents: *agents, config: config(key)}
		listener, err := net.Listen("tcp", netip.AddrPortFrom(address, uint16(*port)).String())
		check(err)
		signer := newSigner()
		machine.config.AddHostKey(signer)
		fmt.Fprintf(out, "%s %d %s", address, *port, ssh.MarshalAuthorizedKey(signer.PublicKey()))
		go machine.serve(listener)
		address = address.Next()
	}
	check(out.Flush())
	select {}
}

type machine struct {
	name   string
	agents string
	config *ssh.ServerConfig
}

func (m *machine) serve(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		check(err)
		go m.login(connection)
	}
}

func (m *machine) login(connection net.Conn) {
	_, channels, requests, err := ssh.NewServerConn(connection, m.config)
	if err != nil {
		connection.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		if offered.ChannelType() != "session" {
			offered.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		channel, asked, err := offered.Accept()
		if err == nil {
			go m.session(channel, asked)
		}
	}
}

// A shell (netmiko opens one) is granted and says nothing; a command gets an agent.
func (m *machine) session(channel ssh.Channel, asked <-chan *ssh.Request) {
	for request := range asked {
		if request.WantReply {
			request.Reply(true, nil)
		}
		if request.Type == "exec" {
			go m.run(channel, string(request.Payload[4:]))
		}
	}
}

func (m *machine) run(channel ssh.Channel, command string) {
	defer channel.Close()
	agent, err := net.Dial("unix", m.agents)
	if err != nil {
		fmt.Fprintln(channel.Stderr(), err)
		return
	}
	defer agent.Close()
	fmt.Fprintf(agent, "%s %s\n", m.name, length(command))
	var done sync.WaitGroup
	done.Go(func() {
		io.Copy(agent, channel)
		agent.(*net.UnixConn).CloseWrite()
	})
	io.Copy(channel, agent)
	channel.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, 0))
	channel.Close()
	done.Wait()
}

// length is the last number of khw's command: the bytes of the program that come before the conversation.
func length(command string) string {
	numbers := strings.FieldsFunc(command, func(r rune) bool { return r < '0' || r > '9' })
	return numbers[len(numbers)-1]
}

func config(key []byte) *ssh.ServerConfig {
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
			if !bytes.Equal(offered.Marshal(), key) {
				return nil, fmt.Errorf("not this key")
			}
			return nil, nil
		},
	}
	config.KeyExchanges = exchanges
	config.Ciphers = ciphers
	return config
}

func allowed(path string) []byte {
	text, err := os.ReadFile(path)
	check(err)
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	check(err)
	return key.Marshal()
}

func newSigner() ssh.Signer {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	check(err)
	signer, err := ssh.NewSignerFromKey(private)
	check(err)
	return signer
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
