/* The latents of documents from an exported model, without Python.
 *
 *   T=$(python -c "import tensorflow as tf; print(tf.sysconfig.get_lib())")
 *   gcc -O1 -Wall encode.c -I$T/include -L$T -l:libtensorflow_cc.so.2 \
 *       -l:libtensorflow_framework.so.2 -Wl,-rpath,$T -o encode
 *   ./encode saved_models/my_model/1 encode_document StatefulPartitionedCall:3 \
 *       "Good morrow.\nHow now?"
 *
 * The C API knows no signatures. What the tensors of input and output are
 * called in the graph is in the version's keras_hvae.json, under "tensor".
 * In an argument, \n stands for the end of a sentence.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tensorflow/c/c_api.h>

static void check(TF_Status *status, const char *what) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  exit(1);
}

static TF_Output find(TF_Graph *graph, char *name) {
  char *colon = strrchr(name, ':');
  TF_Output found = {NULL, colon ? atoi(colon + 1) : 0};
  if (colon) *colon = 0;
  found.oper = TF_GraphOperationByName(graph, name);
  if (!found.oper) {
    fprintf(stderr, "%s: no such tensor in the graph\n", name);
    exit(1);
  }
  return found;
}

static void keep(void *data, size_t size, void *argument) {
  (void)data, (void)size, (void)argument;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: %s VERSION INPUT OUTPUT [DOCUMENT …]\n", argv[0]);
    return 2;
  }
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(
      options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, argv[1]);
  TF_Output input = find(graph, argv[2]), output = find(graph, argv[3]);

  int64_t rows = argc - 4;
  TF_TString *strings = calloc(rows + 1, sizeof(TF_TString));
  for (int64_t i = 0; i < rows; i++) {
    char *text = argv[4 + i], *end = text;
    for (char *c = text; *c; c++) {
      if (c[0] == '\\' && c[1] == 'n') *end++ = '\n', c++;
      else *end++ = *c;
    }
    TF_StringInit(&strings[i]);
    TF_StringCopy(&strings[i], text, end - text);
  }
  TF_Tensor *given = TF_NewTensor(TF_STRING, &rows, 1, strings,
                                  rows * sizeof(TF_TString), keep, NULL);
  TF_Tensor *answer = NULL;
  TF_SessionRun(session, NULL, &input, &given, 1, &output, &answer, 1, NULL, 0,
                NULL, status);
  check(status, "run");

  int64_t size = 1;
  printf("shape");
  for (int i = 0; i < TF_NumDims(answer); i++) {
    printf(" %" PRId64, TF_Dim(answer, i));
    size *= TF_Dim(answer, i);
  }
  printf("\n");
  for (int64_t i = 0; i < size; i++) {
    if (TF_TensorType(answer) == TF_FLOAT)
      printf("%.9g\n", ((float *)TF_TensorData(answer))[i]);
    else if (TF_TensorType(answer) == TF_STRING) {
      TF_TString *text = (TF_TString *)TF_TensorData(answer) + i;
      printf("%.*s\n", (int)TF_StringGetSize(text),
             TF_StringGetDataPointer(text));
    }
  }
  TF_DeleteTensor(answer);
  TF_DeleteTensor(given);
  for (int64_t i = 0; i < rows; i++) TF_StringDealloc(&strings[i]);
  free(strings);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
