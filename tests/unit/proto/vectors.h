/* Written by vectors.py; do not edit. */
#ifndef KVI_TESTS_UNIT_PROTO_VECTORS_H
#define KVI_TESTS_UNIT_PROTO_VECTORS_H

#include <stdint.h>

/* clang-format off */

static const char vector_seed[] =
    "42e29598411cde56ef0c1a5426f192e7bcb500b1fb32b707b022ea7032db8812";

static const uint32_t vector_edge_tokens[] = {0u, 1u, 23u, 24u, 255u, 256u, 65535u, 65536u, 128255u, 2147483647u, 2147483648u, 4294967295u};

static const uint32_t vector_engine_tokens[] = {168u, 488u, 80u, 205u, 336u, 27u, 40u, 423u, 277u, 51u, 190u, 301u, 32u, 468u, 262u, 112u, 22u, 47u, 225u, 217u, 38u, 126u, 49u, 285u, 220u, 33u, 426u, 292u, 66u, 488u, 117u, 325u};

static const char *const vector_native[] = {
    "ffa8d852f3e9cbcd057724433b790654ae21a41672311703f33b0a21e0e0313b",
    "5c7c762c7c0a9d41320cf52cef0917c38e751dff6d305cddf3e881ec74189a39",
    "549812ec0c3de1cd9460a7df05ee127f9736945cfb53ac1564a85746b4e3dc2d",
};

static const char *const vector_native_blocks[] = {
    "3fc38dbaaae65e02db1a6de676c433052222101682a296560c9eaba54279a125",
    "a2a7d16312b421a50e1cafbf9e875ade35e51c1ad596c2484f896cb3d8c0dc8b",
    "92bb732a1130d84231f93cd13bce2ae96b81159bc49be598277d2a5f4280a5c8",
};

static const char *const vector_native_edges[] = {
    "1bc386291bbd0173ff05a22fb962fa45fe3a552318569c7b55d8b96471b7991e",
    "970b25941cd9c8293bb8f3323688ee53980b09f2b33908f4b7ab5129c14b2067",
    "40bf6390b550812e91b47f0fcb7a1d9681d0b5e3ec0139f4616be69d1451888a",
};

static const char *const vector_sglang[] = {
    "57e3aeee08182b3967a2d24826bd4f446aaf27098f4f7c37b9a0ebd57f2bd5f0",
    "87564b09f6ca3a2f8da99395c8070ffd3c834a9720b28d199ef8ce0f24999095",
    "efec1f867964f275ed695dd4cad00d65edbadb0cc49c1b36ecb1b9742cabe5d7",
};

static const char *const vector_sglang_pages[] = {
    "49cc56d607e8cebe5d6dbcac17e31bb3d8b5113c0da26557e1e04ab1db8788d7",
    "a66b36c4691b179d2a30d1beb98187230abd614b5059d900948bb7d40fe31746",
    "5181f1363e63857442e70a55be8368f098e5b76e30bbb9266ed139e1ac75204f",
};

static const char *const vector_vllm[] = {
    "a8c754ce6e3e24d6ad5e1e58b23430fbf2e1020ba4f570939f2206d5f29ec354",
    "faff4328c7e68d7da35dd78c3f6dde52b890e451539a57cdaba5971f13f506e1",
    "a1d87c83448f7a4cb0f91252248466aeeb4175a04b6f825d6828d6919c7d0ef0",
};

static const char *const vector_vllm_blocks[] = {
    "92005367cb5465621b4285bbfe9743cba7801cd51d4a2efbccb05cb0bcf7df30",
    "cd7ff739ccb820e92fcd4ed5428c4a7d64bf384bd38c64a43bb1402e77996046",
    "c79b407129fc5edf2735f2d0d656a6a444d81febb7b93f5fe65ebd942aa89e78",
};

static const char *const vector_vllm_salt[] = {
    "aa5472f64e044bde21c0ca2f3256b83dca233fceaa6d535187d4809a99fb7f48",
    "ed946159d5c31d585c2241f3eddf3cd5d355776540c25b6098f57326bf72a233",
    "0e754af1e6ebe494b2e55af3d2bfbdfcdedf30fdee960c7af2283b439511841a",
};

static const char *const vector_vllm_edges[] = {
    "aee6dd2e1bcca0019c2bb7c854e943bf50ea53bae917b3c73a3bbb5d06a5adf3",
    "63c08f86f6595e3acc201eb72057355b2e8ae6204b2b9bde3f9aea52227a206b",
};

static const char *const vector_vllm_engine[] = {
    "6f1e10aab331a49b3f6a0f8129d05424971b4e8cc2b7cd90d5e22306678572a3",
};

static const char *const vector_none_hashes[] = {
    "4e1195df020de59e0d65a33a4279f1183e7ae4e5d980e309f8b55adff2e61c3e",
    "8d33f520a3c4cef80d2453aef81b612bfe1cb44c8b2025630ad38662763f13d3",
    "9bd96a485ad84efdafb72ee48a1d7a69bcead0f8f0433173941b276b9581eef0",
    "26f05de299a34874101d23be836b5a59d6d52b81e05cbcfe067a5f939f1fb4f7",
};

static const char vector_salt_item[] =
    "816473616c74";

static const char vector_table_one[] =
    "4b56543101000000010000001241cca9050000000000000005000000efbeadde";

static const char vector_table_three[] =
    "4b5654310100341203000000553873487121010000000000010000000000000070110100ffffffff0010000001000000";

static const char vector_space_tensors[] =
    "9c44c6b1d1e637842e196eca8c01fb559d741fc22d4d7f90cd4a6793c548ddd9";

static const char vector_space_tensors_rank[] =
    "57d949fda28bd21a1c245bb3d030d911f933b7ecaca5b999ff54e16744a095a5";

static const char vector_space_q8_0[] =
    "94d0b6d086e9259789f79307484955f773c4694c9a29f390ade8f06d9d0fd34c";

static const char vector_space_opaque[] =
    "deb8fafe33d15ecac16e92ad7ddc2dca3866a4f0d6fc8bf1b2d02218e8aea5e2";

static const char vector_space_vllm_pages[] =
    "ab621419b5a850c42fb0c7f1ec898012a8b32836d48fe71be705ba5b901ab9df";

#endif
