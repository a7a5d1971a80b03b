"""The programs of the graphics card: splats into a premultiplied picture, and that picture into Blender's view.

Per-row data come as float textures, read by row number (`buffers` writes them):

    centres   2 texels a row: x y z opacity | scale x y z, number of the object
    turns     1 texel a row: unit quaternion w x y z
    colours   1 texel a row: constant harmonic r g b
    harmonics 0, 1, 3 or 4 texels a row: floats c_0 c_1 ... of which each holds the r, g and b of one coefficient in
              8 bits each, and in the last place the row's unit
    order     1 float: row numbers, farthest first
    mask      1 float for 6 rows, 4 bits each: 1 if it is highlighted, from 2 on the number of another tint
    objects   11 texels an object: 3 rows of its camera matrix | eye in its axes | 3 rows of its grading |
              opacity, degree | 3 rows of its look

A float32 holds integers up to 2^24 exactly, hence 24 bits and 16.7 million rows.
"""

from __future__ import annotations

from typing import Any

WIDTH_BITS = 12  # rows of every texture that is read by number hold 4096 texels
WIDTH = 1 << WIDTH_BITS
TINTS = 6  # rows a float, 4 bits each
OBJECT_TEXELS = 11
HARMONIC_TEXELS = {0: 0, 1: 1, 2: 3, 3: 4}  # of a degree
DISPLAY_GAMMA = 2.2  # of what a drawing handler writes until it is on the screen (measured)

# std140: four floats each. `painting.view_block` fills it.
VIEW_BLOCK = """
struct SegwildView {
  vec4 focal;      /* fx, fy, cx, cy in pixels */
  vec4 size;       /* width, height, 1 if orthographic, nearest z */
  vec4 clamp;      /* lowest and highest x/z, lowest and highest y/z */
  vec4 depth;      /* a, b of a + b/z or a + b*z; pixels of the depth picture per pixel, 0 without one; swell */
  vec4 highlight;  /* r, g, b, strength; for the merge the background */
  vec4 rows;       /* count, every n-th, harmonic texels a row, gamma */
};
"""

_SPLAT_VERTEX = """
ivec2 cell(int i) { return ivec2(i & (TEXELS - 1), i >> TEXEL_BITS); }

/* Colours of numbers, neighbours a golden section apart. */
vec3 hue(float number) {
  vec3 place = mod(6.0 * fract(0.618034 * number) + vec3(0.0, 4.0, 2.0), 6.0);
  return mix(vec3(1.0), clamp(abs(place - 3.0) - 1.0, 0.0, 1.0), 0.8);
}

vec3 coefficient(float held, float unit) {
  uint bits = uint(held);
  vec3 whole = vec3(float(bits & 255u), float((bits >> 8) & 255u), float(bits >> 16));
  return (whole - 127.0) * unit;
}

/* What depends on the direction. Bases of the original 3D Gaussian splatting, in its order and with its signs. */
vec3 directed(int row, int degree, vec3 d) {
  vec3 c = vec3(0.0);
  int texels = int(view.rows.z);
  if (texels == 0 || degree == 0) return c;
  int first = row * texels;
  vec4 h[4];
  for (int k = 0; k < 4; k++) h[k] = k < texels ? texelFetch(harmonics, cell(first + k), 0) : vec4(0.0);
  float unit = h[texels - 1].w;
  float x = d.x, y = d.y, z = d.z;
  c += 0.4886025119029199 * (-y * coefficient(h[0].x, unit) + z * coefficient(h[0].y, unit)
                             - x * coefficient(h[0].z, unit));
  if (degree == 1 || texels < 3) return c;
  float xx = x * x, yy = y * y, zz = z * z;
  c += 1.0925484305920792 * x * y * coefficient(h[0].w, unit)
     - 1.0925484305920792 * y * z * coefficient(h[1].x, unit)
     + 0.31539156525252005 * (2.0 * zz - xx - yy) * coefficient(h[1].y, unit)
     - 1.0925484305920792 * x * z * coefficient(h[1].z, unit)
     + 0.5462742152960396 * (xx - yy) * coefficient(h[1].w, unit);
  if (degree == 2 || texels < 4) return c;
  c += -0.5900435899266435 * y * (3.0 * xx - yy) * coefficient(h[2].x, unit)
     + 2.890611442640554 * x * y * z * coefficient(h[2].y, unit)
     - 0.4570457994644658 * y * (4.0 * zz - xx - yy) * coefficient(h[2].z, unit)
     + 0.3731763325901154 * z * (2.0 * zz - 3.0 * xx - 3.0 * yy) * coefficient(h[2].w, unit)
     - 0.4570457994644658 * x * (4.0 * zz - xx - yy) * coefficient(h[3].x, unit)
     + 1.445305721320277 * z * (xx - yy) * coefficient(h[3].y, unit)
     - 0.5900435899266435 * x * (xx - 3.0 * yy) * coefficient(h[3].z, unit);
  return c;
}

vec3 by_matrix(int texel, int slot, vec3 c) {
  return vec3(dot(texelFetch(objects, ivec2(texel, slot), 0).xyz, c),
              dot(texelFetch(objects, ivec2(texel + 1, slot), 0).xyz, c),
              dot(texelFetch(objects, ivec2(texel + 2, slot), 0).xyz, c));
}

void main() {
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0);  /* off the picture: what is not drawn ends here */
  local = vec2(0.0);
  rgba = vec4(0.0);
  z_of = 0.0;
  int place = gl_InstanceID * int(view.rows.y);
  if (place >= int(view.rows.x)) return;
  int row = int(texelFetch(order, cell(place), 0).r);
  vec4 centre = texelFetch(centres, cell(2 * row), 0);
  vec4 extent = texelFetch(centres, cell(2 * row + 1), 0);
  int slot = int(extent.w);
  vec4 shown = texelFetch(objects, ivec2(7, slot), 0);  /* opacity, degree, -, - */
  float opacity = centre.w * shown.x;
  if (opacity < 1.0 / 255.0) return;
  vec4 to_x = texelFetch(objects, ivec2(0, slot), 0);
  vec4 to_y = texelFetch(objects, ivec2(1, slot), 0);
  vec4 to_z = texelFetch(objects, ivec2(2, slot), 0);
  vec4 p = vec4(centre.xyz, 1.0);
  vec3 t = vec3(dot(to_x, p), dot(to_y, p), dot(to_z, p));
  bool parallel = view.size.z > 0.5;
  if (!parallel && t.z < view.size.w) return;

  vec4 q = texelFetch(turns, cell(row), 0);
  float w = q.x, x = q.y, y = q.z, z = q.w;
  mat3 axes = mat3(1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
                   2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
                   2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
  /* Rows of the turned and stretched axes: camera x, y, z of each. */
  extent.xyz *= view.depth.w;
  vec3 ax = (to_x.xyz * axes) * extent.xyz;
  vec3 ay = (to_y.xyz * axes) * extent.xyz;
  vec3 az = (to_z.xyz * axes) * extent.xyz;
  vec2 f = view.focal.xy;
  vec3 u, v;
  vec2 at;
  if (parallel) {
    u = f.x * ax;
    v = f.y * ay;
    at = f * t.xy + view.focal.zw;
  } else {
    vec2 slope = clamp(t.xy / t.z, view.clamp.xz, view.clamp.yw);
    u = f.x / t.z * (ax - slope.x * az);
    v = f.y / t.z * (ay - slope.y * az);
    at = f * t.xy / t.z + view.focal.zw;
  }
  float uu = dot(u, u) + 0.3, vv = dot(v, v) + 0.3, uv = dot(u, v);
  vec3 n = cross(u, v);
  float area = dot(n, n) + 0.3 * (uu + vv) - 0.09;
  float reach = min(3.33, sqrt(2.0 * log(255.0 * opacity)));
  vec2 box = reach * sqrt(vec2(uu, vv));
  if (any(lessThan(at + box, vec2(0.0))) || any(greaterThan(at - box, view.size.xy))) return;

  float middle = 0.5 * (uu + vv);
  float major = middle + sqrt(max(0.25 * (uu - vv) * (uu - vv) + uv * uv, 0.0));
  float minor = area / major;  /* the product of both is the area: no cancellation */
  vec2 along = uu >= vv ? vec2(major - vv, uv) : vec2(uv, major - uu);
  along = dot(along, along) > 1e-12 ? normalize(along) : vec2(1.0, 0.0);
  local = corner * reach;
  vec2 off = local.x * sqrt(major) * along + local.y * sqrt(max(minor, 1e-6)) * vec2(-along.y, along.x);

  vec4 seen_from = texelFetch(objects, ivec2(3, slot), 0);  /* the eye, or (w = 0) the direction; object axes */
  vec3 direction = normalize(seen_from.w > 0.5 ? centre.xyz - seen_from.xyz : seen_from.xyz);
  vec3 more = directed(row, int(shown.y), direction);
  vec3 c = texelFetch(colours, cell(row), 0).rgb * 0.28209479177387814 + 0.5;
  c += by_matrix(8, slot, more);  /* the light of a look; the constant term comes lit already */
  c = by_matrix(4, slot, c);
  uint tint = (uint(texelFetch(mask, cell(row / TINTS), 0).r) >> uint(4 * (row % TINTS))) & 15u;
  if (tint == 1u) c = mix(c, view.highlight.rgb, view.highlight.a);
  if (tint > 1u) c = mix(c, hue(float(tint)), view.highlight.a);
  rgba = vec4(max(c, 0.0), opacity);
  z_of = t.z;

  vec2 place_px = at + off;
  float depth = parallel ? view.depth.x + view.depth.y * t.z : view.depth.x + view.depth.y / t.z;
  gl_Position = vec4(2.0 * place_px.x / view.size.x - 1.0, 1.0 - 2.0 * place_px.y / view.size.y, depth, 1.0);
}
"""

_SPLAT_FRAGMENT = """
void main() {
  if (view.depth.z > 0.0
      && gl_FragCoord.z > texelFetch(behind, ivec2(gl_FragCoord.xy * view.depth.z), 0).r) discard;
  float square = dot(local, local);
  float a = min(0.999, rgba.a * exp(-0.5 * square));
  if (a < 1.0 / 255.0) discard;
  picture = vec4(rgba.rgb * a, a);
#ifdef WITH_DEPTH
  depths = vec4(z_of * a, 0.0, 0.0, a);
#endif
}
"""

_MERGE_VERTEX = """
void main() {
  at = corner * 0.5 + 0.5;
  gl_Position = vec4(corner, 0.0, 1.0);
}
"""

# Blender lays what is written over its view in linear light, which would make every faint rim glow. So that value is
# written which comes out as the display colours blended, over a background of the colour that is expected there; of
# a smaller picture the four nearest pixels are mixed.
_MERGE_FRAGMENT = """
void main() {
  ivec2 size = textureSize(picture, 0);
  vec2 p = at * vec2(size) - 0.5;
  ivec2 low = ivec2(floor(p));
  vec2 part = p - vec2(low);
  ivec2 last = size - 1;
  vec4 c = mix(mix(texelFetch(picture, clamp(low, ivec2(0), last), 0),
                   texelFetch(picture, clamp(low + ivec2(1, 0), ivec2(0), last), 0), part.x),
               mix(texelFetch(picture, clamp(low + ivec2(0, 1), ivec2(0), last), 0),
                   texelFetch(picture, clamp(low + ivec2(1, 1), ivec2(0), last), 0), part.x), part.y);
  if (c.a < 0.001) discard;
  vec3 gamma = vec3(view.rows.w);
  vec3 background = view.highlight.rgb;
  vec3 wanted = pow(clamp(c.rgb, vec3(0.0), vec3(c.a)) + (1.0 - c.a) * background, gamma);
  vec3 there = pow(background, gamma);
  /* No light can be taken away but by keeping less of what is there. */
  vec3 most = wanted / max(there, vec3(1e-6));
  float kept = min(1.0 - c.a, min(most.r, min(most.g, most.b)));
  merged = vec4(max(wanted - kept * there, 0.0), 1.0 - kept);
}
"""

_SPLAT_SAMPLERS = ("centres", "turns", "colours", "harmonics", "order", "mask", "objects", "behind")


def splat_shader(*, with_depth: bool) -> Any:
    """Instanced quads into (premultiplied colour, alpha) and, `with_depth`, (z·alpha, -, -, alpha) as well."""
    import gpu

    stage = gpu.types.GPUStageInterfaceInfo(f"segwild_splat_{'depth' if with_depth else 'plain'}")
    stage.smooth("VEC2", "local")
    stage.flat("VEC4", "rgba")
    stage.flat("FLOAT", "z_of")
    info = gpu.types.GPUShaderCreateInfo()
    info.typedef_source(VIEW_BLOCK)
    info.define("TEXELS", str(WIDTH))
    info.define("TEXEL_BITS", str(WIDTH_BITS))
    info.define("TINTS", str(TINTS))
    info.uniform_buf(0, "SegwildView", "view")
    for slot, name in enumerate(_SPLAT_SAMPLERS):
        info.sampler(slot, "FLOAT_2D", name)
    info.vertex_in(0, "VEC2", "corner")
    info.vertex_out(stage)
    info.fragment_out(0, "VEC4", "picture")
    if with_depth:
        info.define("WITH_DEPTH", "1")
        info.fragment_out(1, "VEC4", "depths")
    info.vertex_source(_SPLAT_VERTEX)
    info.fragment_source(_SPLAT_FRAGMENT)
    return gpu.shader.create_from_info(info)


def merge_shader() -> Any:
    """A picture of splats over whatever framebuffer is bound."""
    import gpu

    stage = gpu.types.GPUStageInterfaceInfo("segwild_merge")
    stage.smooth("VEC2", "at")
    info = gpu.types.GPUShaderCreateInfo()
    info.typedef_source(VIEW_BLOCK)
    info.uniform_buf(0, "SegwildView", "view")
    info.sampler(0, "FLOAT_2D", "picture")
    info.vertex_in(0, "VEC2", "corner")
    info.vertex_out(stage)
    info.fragment_out(0, "VEC4", "merged")
    info.vertex_source(_MERGE_VERTEX)
    info.fragment_source(_MERGE_FRAGMENT)
    return gpu.shader.create_from_info(info)
